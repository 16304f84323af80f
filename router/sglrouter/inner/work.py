"""What there is to do on a worker, and where there is least. Pure.

`_request.c` has the same; this is used where it was not built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar


class Work:
    """`in_flight`: this process's requests on a target. Of workers also: `others`, requests of
    others there; `backlog`, prompt tokens without a first byte; `last_chosen`, the number of the
    choice that last fell on it; `slot`, its number while it lives.
    """

    __slots__ = ("backlog", "in_flight", "last_chosen", "others", "slot")

    in_flight: int
    others: int
    backlog: int
    last_chosen: int
    slot: int

    @property
    def load(self) -> int:
        """All requests on it."""
        return self.in_flight + self.others


class Busy(Protocol):
    """A worker as it is compared here."""

    @property
    def slot(self) -> int: ...
    @property
    def load(self) -> int: ...
    @property
    def backlog(self) -> int: ...
    @property
    def last_chosen(self) -> int: ...


B = TypeVar("B", bound=Busy)


def least_work(
    workers: Sequence[B], burdens: Mapping[int, float], tokens_per_request: int
) -> tuple[B, float]:
    """The worker with the least work, and how much, in tokens below 2^53; equals take turns.

    `burdens`: slot → what is added to a worker's work, 0 or more.
    """
    best, least = workers[0], float("inf")
    for worker in workers:
        cost: float = worker.backlog + tokens_per_request * worker.load
        if cost > least:  # a burden only adds to it
            continue
        cost += burdens.get(worker.slot, 0.0)
        if cost < least or (cost == least and worker.last_chosen < best.last_chosen):
            best, least = worker, cost
    return best, least
