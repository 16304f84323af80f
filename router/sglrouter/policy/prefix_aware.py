"""The default policy: where the prompt's prefix is cached, unless that worker is overloaded.

The rule is E2 of Preble (arXiv 2407.00023), on an index of what was sent where instead of the
engines' own caches. Long texts have a home among the workers that all routers compute alike, so
that several routers, which share no index, do not each place a copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xxhash import xxh3_64_intdigest

from sglrouter.models import PolicyName
from sglrouter.policy.base import C, Candidate, Choice, Request
from sglrouter.policy.index import PrefixIndex
from sglrouter.policy.prompt import TOKENS_AT, Prompt

#: A running request costs a worker about as much as this many prompt tokens.
TOKENS_PER_REQUEST = 60
#: A holder is overloaded above this share of the mean load, and this many requests more.
OVERLOAD_FACTOR, OVERLOAD_EXTRA = 1.5, 8
#: Only a match of more than this share of the prompt is worth a detour.
EXPLOIT_SHARE = 0.5
#: Workers that hold this share of the longest match are as good as the one that holds it.
ALMOST = 0.9
#: A cold prompt of this many blocks (8 KB) goes to its home (see `_home`), unless that worker has
#: more work than the cheapest, by this share of the prompt.
HOME_BLOCKS, HOME_SLACK = 16, 0.25


class PrefixAware:
    """Reasons: `prefix` exploits a match, `spill` found its holders overloaded, `cold` had none.

    `alone`: no other router chooses for these workers; long cold prompts then need no home.
    """

    name: PolicyName = "prefix_aware"

    def __init__(self, index: PrefixIndex, spill_tokens: int) -> None:
        self.index = index
        self.spill_tokens = spill_tokens
        self.alone = True
        self._prompt_tokens = self._matched_tokens = 0

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        prompt = request.prompt
        blocks, tokens = prompt.blocks, prompt.tokens
        match = self.index.match(blocks)
        depths = match.depths()
        worker, reason = self._decide(workers, prompt, depths)
        self.index.record(blocks, match, worker.slot)
        matched = TOKENS_AT[depths[worker.slot]] if worker.slot in depths else 0
        self._prompt_tokens += tokens
        self._matched_tokens += matched
        return Choice(worker, reason, matched, tokens - matched)

    def _decide(
        self, workers: Sequence[C], prompt: Prompt, depths: Mapping[int, int]
    ) -> tuple[C, str]:
        """`depths`: blocks that the worker of a slot has."""
        cheapest = _cheapest(workers, depths)
        holders = _holders(workers, depths, EXPLOIT_SHARE * prompt.tokens) if depths else ()
        if not holders:
            if self.alone or len(prompt.blocks) < HOME_BLOCKS:
                return cheapest, "cold"
            home = _home(workers, prompt.blocks)
            worse = _work(home, depths) - _work(cheapest, depths)
            return (home if worse <= HOME_SLACK * prompt.tokens else cheapest), "cold"
        holder = holders[0] if len(holders) == 1 else _cheapest(holders, depths)
        bound = _overload(workers)
        if holder.load > bound:
            # Not the cheapest of all: with a long match that may be the holder itself.
            cool = [worker for worker in workers if worker.load <= bound]
            return _cheapest(cool, depths), "spill"
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
    """The workers with the longest match or almost, if it has more than `least` tokens."""
    held = [(worker, TOKENS_AT[depths[worker.slot]]) for worker in workers if worker.slot in depths]
    longest = max((tokens for _, tokens in held), default=0)
    if longest <= least:
        return ()
    return [worker for worker, tokens in held if tokens >= ALMOST * longest]


def _overload(workers: Sequence[Candidate]) -> float:
    """The load above which a worker is overloaded; the least loaded never is."""
    loads = [worker.load for worker in workers]
    return OVERLOAD_FACTOR * sum(loads) / len(loads) + OVERLOAD_EXTRA


def _home(workers: Sequence[C], blocks: Sequence[int]) -> C:
    """The worker that every router would take for a prompt that begins like this one.

    Beginnings are told apart by a block in their second half, at a depth that is a power of two:
    prompts about one text that differ in length mostly have the same.
    """
    key = blocks[(1 << len(blocks).bit_length() - 1) - 1]
    return max(workers, key=lambda worker: xxh3_64_intdigest(worker.id.encode(), key))


def _work(worker: Candidate, depths: Mapping[int, int]) -> int:
    """Tokens that wait or run there, less what need not be computed again."""
    work = worker.backlog + TOKENS_PER_REQUEST * worker.load
    return work - TOKENS_AT[depths[worker.slot]] if worker.slot in depths else work


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
