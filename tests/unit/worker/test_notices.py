"""What the instance's notices ask of a worker, as data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglworker.drain import Trigger
from sglworker.errors import UnreachableError
from sglworker.imds import Maintenance, SpotNotice, _active_events, _parsed, _spot_notice
from sglworker.models import FleetDocument, StateName
from sglworker.notices import SPOT_NOTICE_S, Notices, spot_time_left, wishes

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
FLEET = FleetDocument(
    environment="dev", fleet="chat", release="1", model="tiny", served_model_name="tiny",
    context_length=4096, drain_deadline_s=600,
)  # fmt: skip
DRAINING_FLEET = FLEET.model_copy(update={"on_rebalance": "drain"})


def event(minutes: float) -> tuple[Maintenance, ...]:
    return (Maintenance("instance-event-1", "system-reboot", NOW + timedelta(minutes=minutes)),)


CASES: dict[str, tuple[Notices, StateName, FleetDocument | None, set[Trigger]]] = {
    "nothing": (Notices(target="InService"), "ready", FLEET, set()),
    "nothing read": (Notices(), "ready", FLEET, set()),
    "terminated": (Notices(target="Terminated"), "ready", FLEET, {Trigger.TERMINATE}),
    "terminated while booting": (Notices(target="Terminated"), "booting", None,
                                 {Trigger.TERMINATE}),
    "terminated in the pool": (Notices(target="Warmed:Terminated"), "warmed", FLEET,
                               {Trigger.TERMINATE}),
    "wanted back in the pool": (Notices(target="Warmed:Stopped"), "ready", FLEET,
                                {Trigger.WARM_POOL}),
    "on its way into the pool": (Notices(target="Warmed:Stopped"), "hydrating", FLEET, set()),
    "in the pool": (Notices(target="Warmed:Running"), "warmed", FLEET, set()),
    "rebalance, recorded": (Notices(rebalance="10:00"), "ready", FLEET, set()),
    "rebalance, drained": (Notices(rebalance="10:00"), "ready", DRAINING_FLEET,
                           {Trigger.REBALANCE}),
    "maintenance next week": (Notices(maintenance=event(10_000)), "ready", FLEET, set()),
    "maintenance in 20 minutes": (Notices(maintenance=event(20)), "ready", FLEET,
                                  {Trigger.MAINTENANCE}),
    "maintenance in 26 minutes": (Notices(maintenance=event(26)), "ready", FLEET, set()),
    "spot and its group": (
        Notices(target="Terminated", spot=SpotNotice("terminate", NOW + timedelta(seconds=90))),
        "ready", FLEET, {Trigger.SPOT, Trigger.TERMINATE}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_notices_ask_for_these_drains(name: str) -> None:
    """A drain begins for what is certain to take the instance away, and for nothing else."""
    given_notices, state, fleet, expected = CASES[name]
    assert {wish.trigger for wish in wishes(given_notices, state, fleet, NOW)} == expected


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(90, 80), (120, 110), (5, 0), (-300, 110), (86_400, 110)],
)  # fmt: skip
def test_a_spot_drain_has_the_notices_time_less_ten_seconds(seconds: float, left: float) -> None:
    """A time that no notice can have means a wrong clock: the notice is as good as new."""
    assert spot_time_left(SpotNotice("stop", NOW + timedelta(seconds=seconds)), NOW) == left


@given(st.floats(-1e6, 1e6))
def test_a_spot_drain_never_outlives_the_notice(seconds: float) -> None:
    """Whatever the clock says, the drain ends within two minutes and not in the past."""
    notice = SpotNotice("terminate", NOW + timedelta(seconds=seconds))
    assert 0 <= spot_time_left(notice, NOW) < SPOT_NOTICE_S


EVENTS = [
    {"NotBefore": "21 Nov 2026 12:00:43 GMT", "NotAfter": "21 Nov 2026 14:00:43 GMT",
     "Code": "system-reboot", "Description": "scheduled reboot", "EventId": "instance-event-1",
     "State": "active"},
    {"NotBefore": "20 Nov 2026 12:00:43 GMT", "Code": "instance-stop",
     "Description": "[Canceled] hardware", "EventId": "instance-event-2", "State": "canceled"},
]  # fmt: skip


def test_only_active_events_are_to_come() -> None:
    """EC2 goes on listing canceled and completed ones."""
    at = datetime(2026, 11, 21, 12, 0, 43, tzinfo=UTC)
    assert _active_events(EVENTS) == (Maintenance("instance-event-1", "system-reboot", at),)


@pytest.mark.parametrize(
    ("text", "parse"), [("{", _spot_notice), ('{"action": 1}', _spot_notice), ("7", _active_events)]
)
def test_a_notice_that_makes_no_sense_is_no_answer(text: str, parse: Any) -> None:
    """Neither a notice nor the absence of one: the last known answer stays."""
    with pytest.raises(UnreachableError, match="makes no sense"):
        _parsed(text, "a notice", parse)
