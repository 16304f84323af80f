"""Policies that look at load alone. Equal loads take turns: never the first in the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sglrouter.models import PolicyName
from sglrouter.policy.base import C, Choice
from sglrouter.wire.body import RequestView


class _Stateless:
    def forget(self, slot: int) -> None:
        """Nothing is kept."""

    def sweep(self) -> None:
        """Nothing is kept."""

    def statistics(self) -> Mapping[str, float]:
        return {}


class LeastLoad(_Stateless):
    """The fewest requests on it; equal loads take turns."""

    name: PolicyName = "least_load"

    def choose(self, request: RequestView, workers: Sequence[C]) -> Choice[C]:
        return Choice(min(workers, key=lambda w: (w.load, w.last_chosen)), "least_load")


class RoundRobin(_Stateless):
    """Every worker in turn, whatever its load."""

    name: PolicyName = "round_robin"

    def choose(self, request: RequestView, workers: Sequence[C]) -> Choice[C]:
        return Choice(min(workers, key=lambda w: (w.last_chosen, w.id)), "turn")
