"""The default policy: where the prompt's prefix is cached, unless that worker is overloaded.

The rule is E2 of Preble (arXiv 2407.00023, section 4.1), on an index of what was sent where
instead of the engines' own caches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sglrouter.models import PolicyName
from sglrouter.policy.base import C, Choice, Request
from sglrouter.policy.index import PrefixIndex
from sglrouter.policy.prompt import TOKENS_AT

#: A running request costs a worker about as much as this many prompt tokens.
TOKENS_PER_REQUEST = 60
#: A holder is overloaded above this share of the mean load, and this many requests more.
OVERLOAD_FACTOR, OVERLOAD_EXTRA = 1.5, 4
#: Only a match of more than this share of the prompt is worth a detour.
EXPLOIT_SHARE = 0.5
#: Matches of this share of the longest are as good.
NEARLY = 0.9


class PrefixAware:
    """Reasons: `prefix` exploits a match, `spill` found its holders overloaded, `cold` had none."""

    name: PolicyName = "prefix_aware"

    def __init__(self, index: PrefixIndex, spill_tokens: int) -> None:
        self.index = index
        self.spill_tokens = spill_tokens
        self._prompt_tokens = self._matched_tokens = 0

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        prompt = request.prompt
        blocks, tokens = prompt.blocks, prompt.tokens
        match = self.index.match(blocks)
        depths = match.depths()
        worker, reason = self._decide(workers, depths, tokens * EXPLOIT_SHARE)
        self.index.record(blocks, match, worker.slot)
        matched = TOKENS_AT[depths[worker.slot]] if worker.slot in depths else 0
        self._prompt_tokens += tokens
        self._matched_tokens += matched
        return Choice(worker, reason, matched, tokens - matched)

    def _decide(
        self, workers: Sequence[C], depths: Mapping[int, int], least: float
    ) -> tuple[C, str]:
        """`depths`: blocks that the worker of a slot has; `least`: tokens that are worth it."""
        loads = [worker.load for worker in workers]
        bound = OVERLOAD_FACTOR * sum(loads) / len(loads) + OVERLOAD_EXTRA
        cool = workers  # never empty: the least loaded is not above the mean
        if max(loads) > bound:
            cool = [worker for worker in workers if worker.load <= bound]
        cheapest = _cheapest(cool, depths)
        holders = _holders(workers, depths, least) if depths else []
        if not holders:
            return cheapest, "cold"
        if cool is not workers:
            holders = [worker for worker in holders if worker.load <= bound]
        if not holders:
            return cheapest, "spill"
        holder = holders[0] if len(holders) == 1 else _cheapest(holders, depths)
        if holder.backlog - cheapest.backlog > self.spill_tokens:
            return cheapest, "spill"
        return holder, "prefix"

    def forget(self, slot: int) -> None:
        self.index.forget(slot)

    def sweep(self) -> None:
        self.index.sweep()

    def statistics(self) -> Mapping[str, float]:
        return {
            **self.index.statistics(),
            "prompt_tokens": float(self._prompt_tokens),
            "matched_tokens": float(self._matched_tokens),
        }


def _holders(workers: Sequence[C], depths: Mapping[int, int], least: float) -> Sequence[C]:
    """The workers with the longest match or nearly so, if it has more than `least` tokens."""
    found = [(TOKENS_AT[depths[w.slot]], w) for w in workers if w.slot in depths]
    longest = max((tokens for tokens, _ in found), default=0)
    if longest <= least:
        return ()
    return [worker for tokens, worker in found if tokens >= NEARLY * longest]


def _cheapest(workers: Sequence[C], depths: Mapping[int, int]) -> C:
    """The worker with the least work waiting and to do; equals take turns."""
    best, least = workers[0], 1 << 62
    for worker in workers:
        work = worker.backlog + TOKENS_PER_REQUEST * worker.load
        if depths and worker.slot in depths:
            work -= TOKENS_AT[depths[worker.slot]]
        if work < least or (work == least and worker.last_chosen < best.last_chosen):
            best, least = worker, work
    return best
