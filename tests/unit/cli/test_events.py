"""One history of two: what sglctl changed, what Auto Scaling did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglctl.aws.fleet_state import activities
from sglctl.context import Context
from sglctl.core.events import Event, in_order, of_activity, of_audit, parse_since
from sglctl.operations.audit import audited, log_file
from sglctl.operations.events import follow, history

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-20T08:00:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20T08:00:00+02:00", datetime(2026, 11, 20, 6, tzinfo=UTC)),
    ],
)
def test_since_is_a_span_or_a_time(text: str, expected: datetime) -> None:
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "2w", "yesterday", "99999999999d"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_since(text, NOW)


def test_an_audit_line_keeps_who_what_and_why_it_failed() -> None:
    line = {
        "time": "2026-11-21T09:00:00+00:00", "who": "ana@laptop", "environment": "dev",
        "action": "workers drain", "outcome": "failed", "seconds": 0.6, "digest": "abc",
        "workers": ["i-1", "i-2"], "error": "too early",
    }  # fmt: skip
    assert of_audit(line, "k").to_text() == (
        "2026-11-21 09:00:00  ana@laptop  workers drain  [failed in 0.6 s]: "
        "workers i-1 i-2, error too early"
    )


def test_an_activity_tells_its_cause_without_the_time_again() -> None:
    event = of_activity(
        {
            "ActivityId": "a", "AutoScalingGroupName": "g", "StatusCode": "Failed",
            "StartTime": NOW, "Description": "Launching a new EC2 instance",
            "StatusMessage": "no capacity",
            "Cause": "At 2026-11-21T10:00:00Z an instance was started.",
        }
    )  # fmt: skip
    assert (event.who, event.outcome, event.detail) == (
        "g", "Failed", "no capacity; an instance was started."
    )  # fmt: skip


def event(seconds: int, key: str = "k", outcome: str = "done") -> Event:
    return Event(NOW + timedelta(seconds=seconds), "sglctl", "ana", "x", outcome, "", key)


@given(st.lists(st.integers(-99, 99)), st.integers(-99, 99))
def test_the_newest_is_last_and_nothing_is_older_than_asked(times: list[int], start: int) -> None:
    since = NOW + timedelta(seconds=start)
    expected = sorted(NOW + timedelta(seconds=s) for s in times if s >= start)
    assert [e.at for e in in_order(map(event, times), since)] == expected


def test_following_tells_an_event_once_and_an_activity_again_when_it_ends() -> None:
    looks = [[event(0, "a 1")], [event(0, "a 1"), event(1, "b")], [event(0, "a 2"), event(1, "b")]]
    found = follow(lambda: looks.pop(0), sleep=lambda _: None)
    assert [next(found).key for _ in range(3)] == ["a 1", "b", "a 2"]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("SGLCTL_STATE_DIR", str(tmp_path))
    return Context(tmp_path, "dev", "text", yes=True, dry_run=False, verbose=False)


def test_a_damaged_line_is_told_and_hides_no_other(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine that lost its power may leave half a line."""
    with audited(context, "apply", plan="1 to create"):
        pass
    with log_file(context).open("a") as file:
        file.write('{"time": "2026-\n')
    with audited(context, "scale"):
        pass
    read = history(context, "sglctl", NOW - timedelta(days=9999))
    for _ in range(2):  # as with --follow
        assert [e.what for e in read()] == ["apply", "scale"]
    assert capsys.readouterr().err.count("audit.jsonl:2 cannot be read") == 1


def test_no_audit_log_yet_is_no_history(context: Context) -> None:
    assert history(context, "sglctl", NOW)() == []


class Pages:
    """Stands for a session whose groups have activities, newest first, one a page."""

    def __init__(self, *minutes_ago: int) -> None:
        self.minutes_ago = minutes_ago
        self.read = 0

    def client(self, _: str) -> Pages:
        return self

    def get_paginator(self, _: str) -> Pages:
        return self

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        for minutes in self.minutes_ago:
            self.read += 1
            yield {"Activities": [{"StartTime": NOW - timedelta(minutes=minutes)}]}


def test_six_weeks_of_activities_are_not_read_for_the_last_hour() -> None:
    session: Any = Pages(1, 59, 61, 999)
    assert len(list(activities(session, "g", NOW - timedelta(hours=1)))) == 2
    assert session.read == 3


def test_an_event_is_one_object_for_programs() -> None:
    assert json.loads(json.dumps(event(0).to_json())) == {
        "time": "2026-11-21T10:00:00+00:00", "source": "sglctl", "who": "ana", "what": "x",
        "outcome": "done", "detail": "",
    }  # fmt: skip
