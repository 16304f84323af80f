"""Rules that this package's policies are compared with, each written anew from its description.

Both keep an exact, unbounded record of what was sent where, which flatters them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sglrouter.models import PolicyName
from sglrouter.policy import C, Choice, Request
from sglrouter.policy.simple import LeastLoad, Stateless, least_loaded

_THRESHOLD, _ABSOLUTE, _RELATIVE = 0.3, 64, 1.5


class _Recorded(Stateless):
    name: PolicyName = "prefix_aware"

    def __init__(self) -> None:
        self._holders: dict[int, dict[int, int]] = {}  # block -> slot -> number of its last use
        self._uses = 0

    def _match(self, blocks: Sequence[int]) -> tuple[float, Mapping[int, int]]:
        """The share of the blocks that is known, and who holds the deepest of them."""
        holders: Mapping[int, int] = {}
        depth = 0
        for block in blocks:
            found = self._holders.get(block)
            if found is None:
                break
            holders = found
            depth += 1
        return (depth / len(blocks) if blocks else 0.0), holders

    def _record(self, blocks: Sequence[int], slot: int) -> None:
        self._uses += 1
        for block in blocks:
            self._holders.setdefault(block, {})[slot] = self._uses


class SglangCacheAware(_Recorded):
    """sglang-router 0.3's `cache_aware`: balance only when the whole fleet is far apart, else the
    latest holder of a match above the threshold, else the shortest queue.
    """

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        blocks = request.prompt.blocks
        loads = [worker.load for worker in workers]
        share, holders = self._match(blocks)
        held = [worker for worker in workers if worker.slot in holders]
        worker, reason = least_loaded(workers), "least_load"
        apart = max(loads) - min(loads) > _ABSOLUTE and max(loads) > _RELATIVE * min(loads)
        if not apart and share > _THRESHOLD and held:
            worker, reason = max(held, key=lambda w: holders[w.slot]), "prefix"
        self._record(blocks, worker.slot)
        return Choice(worker, reason, 0, request.prompt.tokens)


class SmgCacheAware(_Recorded):
    """smg 1.10's `cache_aware`: the least loaded holder that is not hot itself, else the least
    loaded of all that are not.
    """

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        blocks = request.prompt.blocks
        mean = sum(worker.load for worker in workers) / len(workers)
        cool = [
            worker
            for worker in workers
            if not (worker.load > _RELATIVE * mean and worker.load > mean + _ABSOLUTE)
        ]
        share, holders = self._match(blocks)
        held = [worker for worker in cool if worker.slot in holders] if share > _THRESHOLD else []
        worker = least_loaded(held or cool or workers)
        self._record(blocks, worker.slot)
        return Choice(worker, "prefix" if held else "least_load", 0, request.prompt.tokens)


class LeastWork(LeastLoad):
    """Least prompt tokens waiting, then least load: the best that can be done where every worker
    has the same cache. Only where the simulation tells the true backlog.
    """

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        worker = min(workers, key=lambda w: (w.backlog + 60 * w.load, w.last_chosen))
        return Choice(worker, "least_load", 0, request.prompt.tokens)
