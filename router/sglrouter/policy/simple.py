"""Policies that look at load alone. Equal loads take turns: never the first in the list."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from sglrouter.models import PolicyName
from sglrouter.policy.base import C, Choice, Request


class Stateless:
    """A policy that keeps nothing about workers."""

    alone = True

    def first_byte(self, slot: int, new: int, cached: int, ahead: int, seconds: float) -> None:
        """Nothing is kept."""

    def forget(self, slot: int) -> None:
        """Nothing is kept."""

    def sweep(self) -> None:
        """Nothing is kept."""

    def statistics(self) -> Mapping[str, float]:
        return {}


def least_loaded(workers: Sequence[C]) -> C:
    """The fewest requests on it; of equals the one chosen longest ago."""
    return min(workers, key=lambda worker: (worker.load, worker.last_chosen))


class LeastLoad(Stateless):
    """The fewest requests on it; equal loads take turns."""

    name: PolicyName = "least_load"

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        return Choice(least_loaded(workers), "least_load", 0, request.prompt.tokens)


class RoundRobin(Stateless):
    """Every worker in turn, whatever its load."""

    name: PolicyName = "round_robin"

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        worker = min(workers, key=lambda worker: (worker.last_chosen, worker.id))
        return Choice(worker, "turn", 0, request.prompt.tokens)


class PowerOfTwo(Stateless):
    """The less loaded of two drawn at random; the same draws for the same seed."""

    name: PolicyName = "power_of_two"

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - spreads load, guards nothing

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        drawn = self._random.sample(workers, 2) if len(workers) > 1 else workers
        return Choice(least_loaded(drawn), "power_of_two", 0, request.prompt.tokens)
