"""Terraform's events and diagnostics, as data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sglctl.core.progress import Progress, advance
from sglctl.errors import StateLockedError
from sglctl.terraform.diagnose import LockInfo, likely_fix, locked, to_error
from sglctl.terraform.events import (
    Diagnostic,
    Event,
    PlannedEvent,
    RefreshEvent,
    ResourceEvent,
    SummaryEvent,
    TextEvent,
    parse_line,
)

RESOURCE = {"addr": "aws_lb.router", "resource_type": "aws_lb"}

LOCK = """Error message: operation error S3: PutObject, https response error StatusCode: 412
Lock Info:
  ID:        6e1b0c5e-0d0a-3b1e-9c6f-0a4b8d2f1c77
  Path:      sglctl-state-1/environments/prod.tfstate
  Operation: OperationTypeApply
  Who:       ana@laptop
  Version:   1.11.4
  Created:   2026-11-21 10:00:00.123456789 +0000 UTC
  Info:

Terraform acquires a state lock to protect the state from being written
by multiple users at the same time."""


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"type": "apply_start", "hook": {"resource": RESOURCE, "action": "create"}},
            ResourceEvent("start", "aws_lb.router", "create"),
        ),
        (
            {"type": "apply_progress",
             "hook": {"resource": RESOURCE, "action": "create", "elapsed_seconds": 30}},
            ResourceEvent("progress", "aws_lb.router", "create", 30.0),
        ),
        (
            {"type": "apply_errored", "hook": {"resource": RESOURCE, "action": "delete"}},
            ResourceEvent("errored", "aws_lb.router", "delete"),
        ),
        ({"type": "refresh_complete", "hook": {"resource": RESOURCE}},
         RefreshEvent("aws_lb.router", True)),
        ({"type": "planned_change", "change": {"resource": RESOURCE, "action": "replace"}},
         PlannedEvent("aws_lb.router", "replace")),
        ({"type": "change_summary",
          "changes": {"add": 3, "change": 1, "remove": 2, "operation": "plan"}},
         SummaryEvent(3, 1, 2, "plan")),
        ({"type": "diagnostic", "diagnostic": {
            "severity": "error", "summary": "Bad", "detail": "very", "address": "aws_lb.router",
            "range": {"filename": "main.tf", "start": {"line": 7}}}},
         Diagnostic("error", "Bad", "very", "aws_lb.router", "main.tf:7")),
        ({"type": "version", "@message": "Terraform 1.11.4"},
         TextEvent("version", "Terraform 1.11.4")),
    ],
)  # fmt: skip
def test_a_line_becomes_its_event(raw: dict[str, Any], expected: Event) -> None:
    assert parse_line(json.dumps(raw)) == expected


@pytest.mark.parametrize("line", ["panic: oops", "[1, 2]", "{broken"])
def test_a_line_that_is_no_event_stays_text(line: str) -> None:
    """A crash of a provider prints no JSON, and must not be lost."""
    assert parse_line(line) == TextEvent("text", line)


def test_an_empty_line_is_nothing() -> None:
    assert parse_line("  \n") is None


def test_progress_counts_what_was_planned_started_done_and_failed() -> None:
    events: list[Event] = [
        PlannedEvent("a", "create"),
        PlannedEvent("b", "create"),
        PlannedEvent("data.c", "read"),
        ResourceEvent("start", "a", "create"),
        ResourceEvent("start", "b", "create"),
        ResourceEvent("progress", "b", "create", 10),
        ResourceEvent("complete", "a", "create", 1),
    ]
    state = Progress()
    for event in events:
        state = advance(state, event)
    assert state.sentence() == "1/2 done; b create 10 s"
    state = advance(state, ResourceEvent("errored", "b", "create", 12))
    assert state.sentence() == "1/2 done, 1 failed"


def test_a_lock_of_somebody_else_says_who_since_when_and_how_to_unlock() -> None:
    error = to_error("apply", [Diagnostic("error", "Error acquiring the state lock", LOCK)])
    assert isinstance(error, StateLockedError)
    assert error.exit_code == 6
    assert "ana@laptop since 2026-11-21 10:00:00" in error.message
    assert "(apply)" in error.message
    assert error.hint is not None
    assert "--force-unlock 6e1b0c5e-0d0a-3b1e-9c6f-0a4b8d2f1c77" in error.hint


def test_the_unlock_line_is_of_the_locked_environment() -> None:
    """Pasted as it is, it must not reach the default environment instead."""
    lock = LockInfo(
        "6e1b", "ana@laptop", "2026-11-21 03:02:01.532989397 +0000 UTC", "Apply",
        "sglctl-state-1-us-east-1/environments/prod.tfstate",
    )  # fmt: skip
    error = locked(lock)
    assert error.message == (
        "the state is locked by ana@laptop since 2026-11-21 03:02:01 UTC (apply), lock 6e1b"
    )
    assert error.hint is not None
    assert "sglctl apply --env prod --force-unlock 6e1b" in error.hint


def test_an_error_names_the_resource_and_the_fix() -> None:
    error = to_error(
        "apply",
        [
            Diagnostic("warning", "Deprecated", "ignore me"),
            Diagnostic("error", "creating EC2 Instance", "api error VcpuLimitExceeded: more",
                       "aws_instance.a"),
        ],
    )  # fmt: skip
    assert error.message == (
        "terraform apply failed: aws_instance.a: creating EC2 Instance: "
        "api error VcpuLimitExceeded: more"
    )
    assert error.hint is not None
    assert "quota" in error.hint


def test_several_errors_are_all_listed_once() -> None:
    one = Diagnostic("error", "A", "", "a")
    error = to_error("plan", [one, one, Diagnostic("error", "B", "", "b")])
    assert error.message == "terraform plan failed: 2 errors\n  a: A\n  b: B"


def test_an_error_without_diagnostics_shows_what_was_printed() -> None:
    error = to_error("apply", [], "plugin crashed: no space left on device")
    assert "plugin crashed" in error.message
    assert error.hint == "free disk space and run again"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("ExpiredToken: The security token is expired", "renew"),
        ("no valid credential sources found: No valid credential sources", "AWS_PROFILE"),
        ("UnauthorizedOperation: You are not authorized", "permission"),
        ("EntityAlreadyExists: Role with name x already exists", "import"),
        ("dial tcp 127.0.0.1:5566: connect: connection refused", "network"),
        ("could not connect to the registry: Failed to query available provider packages",
         "mirror"),
    ],
)  # fmt: skip
def test_known_failures_have_a_fix(text: str, part: str) -> None:
    assert part in (likely_fix(text) or "")


def test_an_unknown_failure_has_no_invented_fix() -> None:
    assert likely_fix("something else entirely") is None
