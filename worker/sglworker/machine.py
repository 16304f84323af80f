"""The states of a worker and what moves it between them: one table, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from sglworker.errors import NotAllowedError
from sglworker.models import StateName


class Event(StrEnum):
    """What happens to a worker."""

    BOOTED = "booted"  # documents read
    HYDRATED = "hydrated"  # every weight file read
    HELD = "held"  # the group wants the instance in its warm pool
    RELEASED = "released"  # the group wants it in service
    ENGINE_UP = "engine_up"
    ENGINE_LOST = "engine_lost"
    WARMED_UP = "warmed_up"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    DRAINED = "drained"
    FAILED = "failed"


TRANSITIONS: Mapping[tuple[StateName, Event], StateName] = {
    ("booting", Event.BOOTED): "hydrating",
    ("hydrating", Event.HYDRATED): "starting",
    ("hydrating", Event.HELD): "warmed",
    ("warmed", Event.RELEASED): "starting",
    ("starting", Event.ENGINE_UP): "warming_up",
    ("warming_up", Event.WARMED_UP): "ready",
    ("warming_up", Event.ENGINE_LOST): "starting",
    ("ready", Event.ENGINE_LOST): "starting",
    ("booting", Event.DRAIN): "draining",
    ("hydrating", Event.DRAIN): "draining",
    ("warmed", Event.DRAIN): "draining",
    ("starting", Event.DRAIN): "draining",
    ("warming_up", Event.DRAIN): "draining",
    ("ready", Event.DRAIN): "draining",
    ("failed", Event.DRAIN): "draining",  # its terminate hook wants an answer, too
    ("draining", Event.DRAINED): "drained",
    ("drained", Event.HELD): "warmed",  # drained to return to the warm pool
    # The engine must show again that it generates: it may have been restarted meanwhile.
    ("draining", Event.UNDRAIN): "starting",
    ("drained", Event.UNDRAIN): "starting",
    ("booting", Event.FAILED): "failed",
    ("hydrating", Event.FAILED): "failed",
    ("warmed", Event.FAILED): "failed",
    ("starting", Event.FAILED): "failed",
    ("warming_up", Event.FAILED): "failed",
    ("ready", Event.FAILED): "failed",
}


def next_state(state: StateName, event: Event) -> StateName | None:
    """Where an event leads, None where it means nothing."""
    return TRANSITIONS.get((state, event))


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Machine:
    """The current state, since when, and why. `listener(old, new, reason)` hears every change."""

    listener: Callable[[StateName, StateName, str], None] = lambda _old, _new, _reason: None
    now: Callable[[], datetime] = utc_now
    state: StateName = "booting"
    reason: str = ""
    since: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.since = self.now()

    def apply(self, event: Event, reason: str = "") -> StateName:
        """Move. Raises NotAllowedError when the event means nothing in this state."""
        target = next_state(self.state, event)
        if target is None:
            raise NotAllowedError(f"a worker that is {self.state} cannot be {event.value}")
        old, self.state, self.reason, self.since = self.state, target, reason, self.now()
        self.listener(old, target, reason)
        return target
