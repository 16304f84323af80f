"""Waiting, scaling and auditing, without AWS: decisions and injected clocks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sglctl.aws.fleet_state import Group, Member, by_fleet
from sglctl.aws.run_command import ScriptResult
from sglctl.context import Context
from sglctl.core.readiness import GroupState, Observation, Wanted, missing
from sglctl.core.table import table
from sglctl.core.workers import AgentState
from sglctl.errors import LocalError, PreconditionError, WaitTimeoutError
from sglctl.operations.audit import audited, log_file
from sglctl.operations.wait import until_serving
from sglctl.operations.workers import parse_state

READY = Observation(GroupState(2, 2), 2, {"chat": GroupState(2, 2)}, 2)
WANTED = Wanted(2, {"chat": 2})


@pytest.mark.parametrize(
    ("seen", "wanted", "expected"),
    [
        (READY, WANTED, []),
        (Observation(GroupState(2, 2), 1, {"chat": GroupState(2, 1, 1)}, 1), WANTED,
         ["1/2 routers healthy", "fleet chat: 1/2 workers in service (1 starting)",
          "1/2 workers routable"]),
        (Observation(GroupState(2, 2), 2, {}, None), WANTED,
         ["fleet chat: 0/2 workers in service", "the endpoint does not answer"]),
        # Scaling in is over when the last worker has drained, not when it was told to.
        (Observation(GroupState(2, 2), 2, {"chat": GroupState(2, 2, 0, 1)}, 2),
         Wanted(2, {"chat": 2}, frozenset({"chat"})), ["fleet chat: 1 workers still drain"]),
        (Observation(GroupState(2, 2), 2, {"chat": GroupState(2, 3)}, 3), WANTED, []),
        # Nor when it is on its way back into the warm pool, whose prepared ones are another count.
        (Observation(GroupState(2, 2), 2, {"chat": GroupState(2, 2, returning=1, requests=7)}, 2),
         Wanted(2, {"chat": 2}, frozenset({"chat"}), {"chat": 1}),
         ["fleet chat: 1 workers still drain (7 requests in flight)", "fleet chat: 0/1 prepared"]),
        (Observation(GroupState(2, 2), 2, {"chat": GroupState(2, 1, warm_ready=1)}, 1),
         Wanted(2, {"chat": 2}, warm={"chat": 1}),
         ["fleet chat: 1/2 workers in service", "1/2 workers routable"]),
        # No workers wanted: a router that answers is enough.
        (Observation(GroupState(2, 2), 2, {"chat": GroupState(0, 0)}, 0),
         Wanted(2, {"chat": 0}), []),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(seen: Observation, wanted: Wanted, expected: list[str]) -> None:
    assert missing(seen, wanted) == expected


class Line:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def update(self, text: str) -> None:
        self.texts.append(text)


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def looking(*answers: Observation) -> Callable[[], Observation]:
    remaining = list(answers)
    return lambda: remaining.pop(0) if len(remaining) > 1 else remaining[0]


def test_every_router_must_agree() -> None:
    """The load balancer asks one router after the other, and each counts workers for itself."""
    poor = Observation(GroupState(2, 2), 2, {"chat": GroupState(2, 2)}, 1)
    line, clock = Line(), Clock()
    until_serving(
        looking(READY, poor, READY, READY), WANTED, timeout_s=60, line=line,
        why=lambda: None, clock=clock, sleep=clock.sleep,
    )  # fmt: skip
    assert line.texts == ["checking once more", "1/2 workers routable", "checking once more"]


def test_a_deadline_names_what_is_missing_and_why() -> None:
    never = Observation(GroupState(2, 2), 2, {"chat": GroupState(2, 0)}, 0)
    clock = Clock()
    with pytest.raises(WaitTimeoutError) as caught:
        until_serving(
            looking(never), WANTED, timeout_s=30, line=Line(),
            why=lambda: "InsufficientInstanceCapacity", clock=clock, sleep=clock.sleep,
        )  # fmt: skip
    assert "0/2 workers in service" in caught.value.message
    assert "InsufficientInstanceCapacity" in caught.value.message
    assert 30 <= clock.now < 32


def test_an_obstacle_that_waiting_does_not_remove_ends_it_early() -> None:
    """A taken port must not cost twenty minutes."""
    never = Observation(GroupState(2, 2), 2, {"chat": GroupState(2, 2)}, None)
    clock = Clock()
    with pytest.raises(LocalError, match="port 8080 is taken"):
        until_serving(
            looking(never), WANTED, timeout_s=1200, line=Line(), why=lambda: None,
            blocked=lambda: "port 8080 is taken", clock=clock, sleep=clock.sleep,
        )  # fmt: skip
    assert 15 <= clock.now < 17


def test_an_obstacle_that_passes_is_waited_for() -> None:
    never = Observation(GroupState(2, 2), 2, {"chat": GroupState(2, 2)}, None)
    said = iter(["port 8080 is taken"] * 10 + [None] * 1000)  # type: ignore[list-item]
    clock = Clock()
    until_serving(
        looking(*[never] * 20, READY), WANTED, timeout_s=1200, line=Line(), why=lambda: None,
        blocked=lambda: next(said), clock=clock, sleep=clock.sleep,
    )  # fmt: skip
    assert clock.now >= 20


def test_a_groups_members_are_counted_by_lifecycle() -> None:
    states = ("InService", "Pending:Wait", "Terminating:Wait", "Warmed:Stopped", "Warmed:Pending")
    members = tuple(
        Member(f"i-{n}", state, "Healthy", "us-east-1a", "m7i.large")
        for n, state in enumerate(states)
    )
    one = Group("a", "worker", "chat", 0, 5, 2, 1, members=members[:3], warm=members[3:])
    assert one.state == GroupState(2, 1, 1, 1, warm_ready=1)
    assert by_fleet([one, one]) == {"chat": GroupState(4, 2, 2, 2, warm_ready=2)}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (ScriptResult("i", "Success", 0, json.dumps(
            {"state": "ready", "reason": "", "in_flight": 2, "queued": 1, "release": "r"}), ""),
         AgentState("ready", "", 2, 1, "r")),
        (ScriptResult("i", "Failed", 127, "", "sh: sglworker: not found\n"),
         AgentState("unreachable", "sh: sglworker: not found")),
    ],
)  # fmt: skip
def test_an_agents_answer_is_read(result: ScriptResult, expected: AgentState) -> None:
    assert parse_state(result) == expected


def test_an_answer_that_is_no_state_is_said_not_guessed() -> None:
    found = parse_state(ScriptResult("i", "Success", 0, "hello", ""))
    assert found.state == "unreachable"
    assert "cannot be read" in found.reason


def test_every_end_of_a_change_leaves_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGLCTL_STATE_DIR", str(tmp_path))
    context = Context(tmp_path, "dev", "text", yes=True, dry_run=False, verbose=False)
    with audited(context, "apply", plan="1 to create"):
        pass
    for error in (KeyboardInterrupt(), PreconditionError("no key\nmore")):
        with pytest.raises(type(error)), audited(context, "apply"):
            raise error
    lines = [json.loads(line) for line in log_file(context).read_text().splitlines()]
    assert [(line["action"], line["outcome"], line.get("error")) for line in lines] == [
        ("apply", "done", None),
        ("apply", "interrupted", None),
        ("apply", "failed", "no key"),
    ]
    assert lines[0]["plan"] == "1 to create"
    assert lines[0]["environment"] == "dev"


def test_columns_line_up() -> None:
    assert table([("A", "BB"), (111, 2)]) == ["A    BB", "111  2"]
    assert table([]) == []
