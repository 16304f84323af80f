"""The lifecycle's table, hooks that hold, and a clock that only moves when told to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglocal.aws.autoscaling.hooks import PendingAction, longest_hold_s, outcome
from sglocal.aws.autoscaling.lifecycle import (
    ACTIVE,
    LEAVING,
    WARMED,
    WARMING,
    Event,
    State,
    TransitionError,
    after,
    knows,
    target,
)
from sglocal.clock import VirtualClock

LIVES = {
    "launch": ("Pending", [Event.SERVE], "InService"),
    "launch with hooks": ("Pending", [Event.HOLD, Event.PROCEED, Event.SERVE], "InService"),
    "launch abandoned": ("Pending", [Event.HOLD, Event.TERMINATE, Event.GONE], "Terminated"),
    "terminate with hooks": (
        "InService",
        [Event.TERMINATE, Event.HOLD, Event.PROCEED, Event.GONE],
        "Terminated",
    ),
    "standby and back": (
        "InService",
        [Event.ENTER_STANDBY, Event.ON_STANDBY, Event.EXIT_STANDBY, Event.SERVE],
        "InService",
    ),
    "detach": ("InService", [Event.DETACH, Event.DETACHED], "Detached"),
    "into the pool": (
        "Warmed:Pending",
        [Event.HOLD, Event.PROCEED, Event.STOPPED],
        "Warmed:Stopped",
    ),
    "from the pool": ("Warmed:Stopped", [Event.FROM_POOL, Event.HOLD], "Pending:Wait"),
    "back into the pool": (
        "InService",
        [Event.TO_POOL, Event.HOLD, Event.PROCEED, Event.KEPT_RUNNING],
        "Warmed:Running",
    ),
    "terminated in the pool": (
        "Warmed:Hibernated",
        [Event.TERMINATE, Event.HOLD, Event.PROCEED, Event.GONE],
        "Warmed:Terminated",
    ),
}


@pytest.mark.parametrize(("state", "events", "end"), LIVES.values(), ids=LIVES.keys())
def test_a_life_runs_through_the_documented_states(
    state: str, events: list[Event], end: str
) -> None:
    for event in events:
        state = after(state, event)
    assert state == end


@pytest.mark.parametrize(
    ("state", "event"),
    [
        ("Terminating", Event.SERVE),
        ("Standby", Event.SERVE),
        ("Pending:Wait", Event.SERVE),
        ("Warmed:Stopped", Event.SERVE),
        ("Pending", Event.TO_POOL),
    ],
)
def test_an_event_that_a_state_does_not_know_is_an_error(state: str, event: Event) -> None:
    with pytest.raises(TransitionError):
        after(state, event)


@pytest.mark.parametrize("state", [*ACTIVE, *WARMING, *WARMED, State.STANDBY, State.DETACHING])
def test_everything_that_is_not_leaving_can_be_terminated(state: State) -> None:
    assert after(state, Event.TERMINATE) in LEAVING


def test_nothing_leads_out_of_terminating_but_its_end() -> None:
    events = {e for s in LEAVING for e in Event if knows(s, e)}
    assert events == {Event.HOLD, Event.PROCEED, Event.GONE}


@pytest.mark.parametrize(
    ("state", "pool", "seen"),
    [
        ("Pending:Wait", "Stopped", "InService"),
        ("InService", "Stopped", "InService"),
        ("EnteringStandby", "Stopped", "Standby"),
        ("Detaching", "Stopped", "Detached"),
        ("Terminating:Wait", "Stopped", "Terminated"),
        ("Warmed:Pending:Wait", "Stopped", "Warmed:Stopped"),
        ("Warmed:Pending:Wait", "Running", "Warmed:Running"),
        ("Warmed:Running", "Stopped", "Warmed:Running"),
        ("Warmed:Terminating:Wait", "Stopped", "Warmed:Terminated"),
    ],
)
def test_metadata_names_the_steady_state_ahead(state: str, pool: str, seen: str) -> None:
    assert target(state, pool) == seen


@pytest.mark.parametrize(("timeout", "limit"), [(30, 3000), (3600, 172800), (1728, 172800)])
def test_a_hook_holds_100_timeouts_or_48_hours_at_most(timeout: int, limit: int) -> None:
    assert longest_hold_s(timeout) == limit


@given(timeout=st.integers(1, 7200), beats=st.lists(st.floats(0, 200_000), max_size=20))
def test_heartbeats_never_prolong_a_wait_beyond_the_limit(timeout: int, beats: list[float]) -> None:
    action = PendingAction.start("launch", "CONTINUE", timeout, now=0.0)
    for moment in sorted(beats):
        action.heartbeat(moment)
        assert action.deadline <= longest_hold_s(timeout)
    action.settle(float(longest_hold_s(timeout)))
    assert (action.result, action.ending()) == ("CONTINUE", "Heartbeat Timeout")


def test_a_heartbeat_restarts_the_timeout() -> None:
    action = PendingAction.start("launch", "ABANDON", 60, now=0.0)
    action.heartbeat(59.0)
    action.settle(118.0)
    assert action.result is None
    action.settle(119.0)
    assert action.result == "ABANDON"


@pytest.mark.parametrize(
    ("results", "together"),
    [
        ([], "CONTINUE"),
        (["CONTINUE", None], None),
        (["CONTINUE", "CONTINUE"], "CONTINUE"),
        (["ABANDON", None], "ABANDON"),
    ],
)
def test_one_abandon_ends_the_wait_and_all_must_continue(
    results: list[str | None], together: str | None
) -> None:
    actions = [PendingAction("h", "CONTINUE", 60, 60, 600, result=r) for r in results]  # type: ignore[arg-type]
    assert outcome(actions) == together


def test_a_virtual_clock_moves_date_and_seconds_together_and_never_back() -> None:
    clock = VirtualClock()
    before = clock.now()
    clock.advance(3600)
    assert (clock(), clock.now() - before) == (3600.0, timedelta(hours=1))
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
