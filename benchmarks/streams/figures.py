"""How fast workers left, from what clients, routers and the emulator saw. Pure.

Times are of one wall clock, in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.streams.load import Record

#: After this a terminate event has reached every router.
NOT_CHOSEN_BOUND_S = 2.0
#: A Spot notice is polled each 5 s, as EC2's guide says; the rest is as for a terminate event.
SPOT_NOT_CHOSEN_BOUND_S = NOT_CHOSEN_BOUND_S + 5.0
HOOK_BOUND_S = 1.0
#: A drain lasts so long in any case (sglworker.drain.SETTLE_S): routers have to learn of it.
_SETTLE_S = 1.5


@dataclass(frozen=True)
class Leaving:
    """A worker that left. Seconds; None where it does not apply.

    `not_chosen_s`: from the event to the last request that a router chose it for (0: none after).
    `hook_s`: from the end of its last stream, as its client saw it, to its hook's completion; only
    of a worker that had streams for longer than a drain lasts anyhow.
    `drained_s`: from the event to the end of its last stream.
    """

    worker: str
    not_chosen_s: float
    drained_s: float
    hook_s: float | None


def leavings(
    told: Mapping[str, float],
    chosen: Mapping[str, float],
    completed: Mapping[str, float],
    records: Iterable[Record],
) -> list[Leaving]:
    """One of each worker in `told`: worker → when it was told to leave."""
    ends: dict[str, float] = {}
    for record in records:
        ends[record.worker] = max(record.ended_at, ends.get(record.worker, 0.0))
    return [
        _leaving(worker, at, chosen.get(worker), completed.get(worker), ends.get(worker))
        for worker, at in sorted(told.items())
    ]


def _leaving(
    worker: str, at: float, chosen: float | None, completed: float | None, end: float | None
) -> Leaving:
    busy = end is not None and end > at + _SETTLE_S
    hook = completed - end if busy and completed is not None and end is not None else None
    return Leaving(worker, max(0.0, (chosen or at) - at), max(0.0, (end or at) - at), hook)


@dataclass(frozen=True)
class Spread:
    """Nearest-rank percentiles of a figure over the workers; all 0 of none."""

    count: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        ordered = sorted(values)
        if not ordered:
            return cls(0, 0.0, 0.0, 0.0)

        def rank(share: float) -> float:
            return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

        return cls(len(ordered), rank(0.5), rank(0.99), ordered[-1])

    def document(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Figure:
    """One line of the result: a spread, and the most it may be (None: only told)."""

    name: str
    spread: Spread
    bound_s: float | None

    @property
    def held(self) -> bool:
        return self.bound_s is None or (self.spread.count > 0 and self.spread.max <= self.bound_s)


def figures(by_phase: Mapping[str, Sequence[Leaving]]) -> list[Figure]:
    """Of the workers that a group terminated, and of those on Spot."""
    group = [one for name, them in by_phase.items() if name != "spot" for one in them]
    spot = list(by_phase.get("spot", ()))
    found = []
    if group:
        hooks = [one.hook_s for one in group if one.hook_s is not None]
        found += [
            Figure("idle → hook completed", Spread.of(hooks), HOOK_BOUND_S),
            Figure(
                "terminate event → no new request",
                Spread.of([one.not_chosen_s for one in group]),
                NOT_CHOSEN_BOUND_S,
            ),
            Figure("terminate event → last stream over", Spread.of(_drained(group)), None),
        ]
    if spot:
        found += [
            Figure(
                "Spot notice → no new request",
                Spread.of([one.not_chosen_s for one in spot]),
                SPOT_NOT_CHOSEN_BOUND_S,
            ),
            Figure("Spot notice → last stream over", Spread.of(_drained(spot)), 110.0),
        ]
    return found


def _drained(them: Iterable[Leaving]) -> list[float]:
    return [one.drained_s for one in them]
