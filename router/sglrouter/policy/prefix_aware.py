"""The default policy: where the prompt's prefix is cached, unless another worker would be earlier.

The rule is E2 of Preble (arXiv 2407.00023), on an index of what was sent where instead of the
engines' own caches, and in time: a worker's prefill speed is learned from its first bytes. Long
texts have a home among the workers that all routers compute alike, so that several routers, which
share no index, do not each place a copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xxhash import xxh3_64_intdigest

from sglrouter.inner import least_work
from sglrouter.models import PolicyName
from sglrouter.policy.base import C, Candidate, Choice, Request
from sglrouter.policy.history import History
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
#: Among several routers, a cold prompt of this many blocks (4 KB) goes to its home (see `_home`),
#: unless more waits there than where it would go else, by this share of the prompt.
HOME_BLOCKS, HOME_SLACK = 8, 1.0


class PrefixAware:
    """Reasons: `prefix` exploits a match, `spill` found its holders overloaded, `cold` had none.

    `alone`: no other router chooses for these workers; long cold prompts then need no home.
    A worker's cost is the time to the first token there, in tokens of the mean worker, and its
    burden: what begins on a worker comes back to it.
    """

    name: PolicyName = "prefix_aware"

    def __init__(self, index: PrefixIndex, spill_tokens: int) -> None:
        self.index = index
        self.spill_tokens = spill_tokens
        self.alone = True
        self.history = History()
        self._prompt_tokens = self._matched_tokens = 0

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        prompt = request.prompt
        hashes, tokens = prompt.hashes, prompt.tokens
        match = self.index.match(hashes)
        depths = match.depths()
        if depths or not self.alone:
            worker, reason = self._decide(workers, prompt, depths)
        else:
            worker, reason = self._cheapest(workers, depths, tokens)[0], "cold"
        slot = worker.slot
        self.index.record(hashes, match, slot)
        matched = TOKENS_AT[depths[slot]] if slot in depths else 0
        self._prompt_tokens += tokens
        self._matched_tokens += matched
        new = tokens - matched
        self.history.sent[slot] += new
        return Choice(worker, reason, matched, new)

    def _decide(
        self, workers: Sequence[C], prompt: Prompt, depths: Mapping[int, int]
    ) -> tuple[C, str]:
        """`depths`: blocks that the worker of a slot has."""
        tokens = prompt.tokens
        holders = _holders(workers, depths, EXPLOIT_SHARE * tokens) if depths else ()
        if not holders:
            return self._place(workers, prompt, depths), "cold"
        holder, cost = self._cheapest(holders, depths, tokens)
        load = holder.load
        if load > OVERLOAD_EXTRA and load > (bound := _overload(workers)):
            # Not the cheapest of all: with a long match that may be the holder itself.
            cool = [worker for worker in workers if worker.load <= bound]
            return self._cheapest(cool, depths, tokens)[0], "spill"
        if cost > self.spill_tokens:
            cheapest, least = self._cheapest(workers, depths, tokens)
            if cost - least > self.spill_tokens:
                return cheapest, "spill"
        return holder, "prefix"

    def _place(self, workers: Sequence[C], prompt: Prompt, depths: Mapping[int, int]) -> C:
        """Where a prompt goes that no worker has half of."""
        blocks, tokens = prompt.blocks, prompt.tokens
        cheapest, _ = self._cheapest(workers, depths, tokens)
        if self.alone or len(blocks) < HOME_BLOCKS:
            return cheapest
        home = _home(workers, blocks)
        worse = self._wait(home) - self._wait(cheapest)
        return home if worse <= HOME_SLACK * tokens else cheapest

    def _wait(self, worker: Candidate) -> float:
        """What is before a new request there."""
        work = worker.backlog + TOKENS_PER_REQUEST * worker.load
        return work * self.history.paces.get(worker.slot, 1.0)

    def _cheapest(
        self, workers: Sequence[C], depths: Mapping[int, int], tokens: int
    ) -> tuple[C, float]:
        """The worker with the first token soonest, and its cost; equals take turns."""
        burdens, paces = self.history.burdens, self.history.paces
        if not (depths or paces):
            best, least = least_work(workers, burdens, TOKENS_PER_REQUEST)
            return best, least + tokens
        best, least = workers[0], float("inf")
        for worker in workers:
            slot = worker.slot
            cost: float = worker.backlog + TOKENS_PER_REQUEST * worker.load + tokens
            if slot in depths:
                cost -= TOKENS_AT[depths[slot]]
            if slot in paces:
                cost *= paces[slot]
            if slot in burdens:
                cost += burdens[slot]
            if cost < least or (cost == least and worker.last_chosen < best.last_chosen):
                best, least = worker, cost
        return best, least

    def first_byte(self, slot: int, new: int, cached: int, ahead: int, seconds: float) -> None:
        """A stream began; see `History.first_byte`."""
        self.history.first_byte(slot, new, cached, ahead, seconds)

    def forget(self, slot: int) -> None:
        self.index.forget(slot)
        self.history.forget(slot)

    def sweep(self) -> None:
        self.index.sweep()
        self.history.sweep()

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
