"""When a drain is over: pure decisions over readings of the engine and a given clock.

A drain ends when the engine was seen idle twice in a row and routers have had `SETTLE_S` to learn
of it, or at its deadline.
An engine whose port refuses connections has no stream; one that does not answer in time may have
some, so only the deadline ends that drain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

#: Routers poll the state each 0.5 s: after three polls none chooses this worker any more.
SETTLE_S = 1.5
#: One idle reading may fall between two requests of a router that does not know yet.
IDLE_READS = 2


class Trigger(StrEnum):
    """Who wants the drain, weakest first: a stronger one takes over and cannot be undone."""

    OPERATOR = "operator"
    SIGTERM = "sigterm"
    REBALANCE = "rebalance"
    MAINTENANCE = "maintenance"
    SPOT = "spot"
    WARM_POOL = "warm_pool"
    TERMINATE = "terminate"


_STRENGTH = list(Trigger)


@dataclass(frozen=True)
class Load:
    """One answer of the engine, summed over its data-parallel ranks."""

    in_flight: int
    queued: int
    token_usage: float = 0.0
    cache_hit_rate: float = 0.0
    max_running_requests: int | None = None

    @property
    def busy(self) -> int:
        return self.in_flight + self.queued


#: What one look at the engine gave: a load, nothing listening, or no answer.
Reading = Load | Literal["down", "silent"]


@dataclass(frozen=True)
class Drain:
    """A drain in progress. Times in seconds of one monotonic clock."""

    trigger: Trigger
    started_at: float
    deadline_at: float
    joined: frozenset[Trigger] = frozenset()  # who else wants it, or wanted it first
    busy: int = 0
    lost: int = 0  # requests an engine that died took with it
    idle_reads: int = 0
    last_read_at: float | None = None

    def observe(self, reading: Reading, at: float) -> Drain:
        """The drain after one more reading; one without an answer proves nothing."""
        if reading == "silent":
            return replace(self, idle_reads=0)
        if reading == "down":
            seen = replace(self, busy=0, lost=self.lost + self.busy)
        else:
            seen = replace(self, busy=reading.busy)
        return replace(seen, idle_reads=0 if seen.busy else self.idle_reads + 1, last_read_at=at)

    def also(self, trigger: Trigger, deadline_at: float) -> Drain:
        """The drain when somebody else wants it, too: the stronger trigger, the nearer deadline."""
        strongest = max(self.trigger, trigger, key=_STRENGTH.index)
        return replace(
            self,
            trigger=strongest,
            joined=self.triggers | {trigger},
            deadline_at=min(self.deadline_at, deadline_at),
        )

    @property
    def triggers(self) -> frozenset[Trigger]:
        return self.joined | {self.trigger}

    @property
    def can_undo(self) -> bool:
        return self.trigger is Trigger.OPERATOR


@dataclass(frozen=True)
class Verdict:
    """The end of a drain: how many requests it cuts, and why it is over."""

    cut: int
    reason: str


def judge(drain: Drain, now: float) -> Verdict | None:
    """None while the drain goes on."""
    settled = drain.last_read_at is not None and drain.last_read_at >= drain.started_at + SETTLE_S
    if settled and drain.idle_reads >= IDLE_READS:
        died = f", {drain.lost} cut by the engine's end" if drain.lost else ""
        return Verdict(drain.lost, f"idle after {now - drain.started_at:.1f} s{died}")
    if now >= drain.deadline_at:
        waited = now - drain.started_at
        return Verdict(
            drain.lost + drain.busy, f"deadline after {waited:.1f} s with {drain.busy} in flight"
        )
    return None
