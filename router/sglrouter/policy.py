"""Which worker gets a request. Pure: no I/O, no clock; what a policy learns lives in its object.

A policy sees the candidates as `Candidate`s and returns one of them.
The caller records the choice (`last_chosen`), so that equal loads spread by turns:
least recently chosen first, never the first in the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from sglrouter.models import PolicyName
from sglrouter.view import RequestView


class Candidate(Protocol):
    """A worker that may be chosen.

    `in_flight`: requests of this router on it; `queued`: what its agent last reported;
    `last_chosen`: the number of the choice that last fell on it, 0 for never.
    """

    @property
    def id(self) -> str: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def queued(self) -> int: ...
    @property
    def last_chosen(self) -> int: ...


C = TypeVar("C", bound=Candidate)


class Policy(Protocol):
    name: PolicyName

    def choose(self, request: RequestView, workers: Sequence[C]) -> C:
        """One of `workers`, which is never empty."""

    def forget(self, worker_id: str) -> None:
        """The worker is gone: free what was kept about it."""


class LeastLoad:
    """The fewest requests in flight and queued; equal loads take turns."""

    name: PolicyName = "least_load"

    def choose(self, request: RequestView, workers: Sequence[C]) -> C:
        return min(workers, key=lambda w: (w.in_flight + w.queued, w.last_chosen))

    def forget(self, worker_id: str) -> None:
        """Nothing is kept."""


class RoundRobin:
    """Every worker in turn, whatever its load."""

    name: PolicyName = "round_robin"

    def choose(self, request: RequestView, workers: Sequence[C]) -> C:
        return min(workers, key=lambda w: (w.last_chosen, w.id))

    def forget(self, worker_id: str) -> None:
        """Nothing is kept."""


def make_policy(name: PolicyName) -> Policy:
    policies: dict[PolicyName, type[LeastLoad] | type[RoundRobin]] = {
        "least_load": LeastLoad,
        "round_robin": RoundRobin,
    }
    return policies[name]()
