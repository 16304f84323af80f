"""The simulated fleet: engines with prefix caches, and routers that choose with a real policy.

An engine prefills requests one after another and decodes them side by side. Its cache is LRU over
blocks, leaves first, as SGLang's radix cache evicts. A router knows its own requests at once and
other routers' requests from reports, like the real one.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.simulation.workload import ENGINE_BLOCK_TOKENS, Conversation, Turn, WorkerGroup
from sglrouter.fleet.owner import owner
from sglrouter.policy import Choice, Policy
from sglrouter.policy.prompt import Prompt

REPORT_S = 0.5
SWEEP_S = 0.25


class Cache:
    """Blocks, the next to evict first."""

    def __init__(self, tokens: int) -> None:
        self._size = tokens // ENGINE_BLOCK_TOKENS
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def match(self, blocks: Sequence[int]) -> int:
        """Tokens of the longest cached beginning."""
        count = 0
        for block in blocks:
            if block not in self._blocks:
                break
            count += 1
        return count * ENGINE_BLOCK_TOKENS

    def add(self, blocks: Sequence[int]) -> None:
        for block in reversed(blocks):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._size:
            self._blocks.popitem(last=False)


@dataclass(slots=True)
class Engine:
    group: WorkerGroup
    cache: Cache
    in_flight: int = 0
    free_at: float = 0.0
    busy_s: float = 0.0


@dataclass(slots=True)
class Seen:
    """A worker as one router sees it (a policy's Candidate)."""

    id: str
    slot: int
    engine: Engine
    in_flight: int = 0
    others: int = 0
    backlog: int = 0
    last_chosen: int = 0

    @property
    def load(self) -> int:
        return self.in_flight + self.others


@dataclass(frozen=True, slots=True)
class View:
    """A request as a policy sees it."""

    prompt: Prompt
    session: bytes = b""
    document: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Router:
    id: str
    policy: Policy
    workers: list[Seen]
    choices: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


@dataclass(slots=True)
class Sample:
    """One request's outcome; times in seconds, sizes in tokens."""

    at: float
    ttft: float
    prompt: int
    cached: int
    reason: str
    worker: int


@dataclass(slots=True)
class Outcome:
    """A whole run: its requests in order of arrival, and each engine's busy time."""

    samples: list[Sample]
    busy_s: list[float]
    end_s: float


class Simulation:
    """One run. `pooled`: all engines share one cache of their common size, the bound."""

    def __init__(
        self,
        groups: Sequence[WorkerGroup],
        make: Callable[[int], Policy],
        routers: int = 1,
        pooled: bool = False,
    ) -> None:
        each = [group for group in groups for _ in range(group.count)]
        shared = Cache(sum(group.cache_tokens for group in each)) if pooled else None
        self.engines = [Engine(group, shared or Cache(group.cache_tokens)) for group in each]
        self.routers = [
            Router(
                f"router-{n}",
                make(n),
                [Seen(f"worker-{k}", k + 1, engine) for k, engine in enumerate(self.engines)],
            )
            for n in range(routers)
        ]
        for router in self.routers:
            router.policy.alone = routers == 1
        self.pooled = pooled
        self._by_id = {router.id: router for router in self.routers}
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._samples: list[Sample] = []
        self._open = 0

    def run(self, conversations: Sequence[Conversation]) -> Outcome:
        self._open = sum(len(c.turns) for c in conversations)
        for conversation in conversations:
            self._at(
                conversation.start_s, self._arrive, conversation, 0, conversation.shared_tokens
            )
        self._at(0.0, self._sweep)
        if len(self.routers) > 1:
            self._at(0.0, self._report)
        now = 0.0
        while self._events:
            now, _, action, arguments = heapq.heappop(self._events)
            action(now, *arguments)
        return Outcome(self._samples, [engine.busy_s for engine in self.engines], now)

    def _at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), action, arguments))

    def _arrive(self, now: float, conversation: Conversation, n: int, context: int) -> None:
        turn = conversation.turns[n]
        tokens = context + turn.user
        prompt = conversation.prompt(tokens)
        router = self._by_id[owner(prompt.conversation, list(self._by_id))]
        alive = [w for w in router.workers if w.engine.group.from_s <= now < w.engine.group.until_s]
        choice = router.policy.choose(View(prompt), alive)
        worker, engine = choice.worker, choice.worker.engine
        blocks = conversation.engine_blocks(tokens)
        cached = engine.cache.match(blocks)
        engine.cache.add(blocks)
        if self.pooled:
            choice.new_tokens = tokens - cached
        ahead = worker.backlog
        worker.last_chosen = next(router.choices)
        worker.in_flight += 1
        worker.backlog += choice.new_tokens
        engine.in_flight += 1
        group = engine.group
        work_s = group.overhead_s + (tokens - cached) / group.prefill_tokens_per_s
        engine.busy_s += work_s
        engine.free_at = first = max(now, engine.free_at) + work_s
        sample = Sample(now, first - now, tokens, cached, choice.reason, worker.slot)
        self._samples.append(sample)
        itl_s = group.itl_s + group.itl_per_request_s * engine.in_flight
        self._at(first, self._first_token, router, choice, ahead, first - now)
        self._at(first + turn.output * itl_s, self._done, worker, conversation, n, tokens, turn)

    def _first_token(
        self, now: float, router: Router, choice: Choice[Seen], ahead: int, seconds: float
    ) -> None:
        choice.worker.backlog -= choice.new_tokens
        router.policy.first_byte(
            choice.worker.slot, choice.new_tokens, choice.cached_tokens, ahead, seconds
        )

    def _done(
        self, now: float, worker: Seen, conversation: Conversation, n: int, tokens: int, turn: Turn
    ) -> None:
        worker.in_flight -= 1
        worker.engine.in_flight -= 1
        self._open -= 1
        context = tokens + turn.output
        worker.engine.cache.add(conversation.engine_blocks(context))
        if n + 1 < len(conversation.turns):
            self._at(now + turn.pause_s, self._arrive, conversation, n + 1, context)

    def _sweep(self, now: float) -> None:
        for router in self.routers:
            router.policy.sweep()
        if self._open:
            self._at(now + SWEEP_S, self._sweep)

    def _report(self, now: float) -> None:
        """Agents tell each router what is on them."""
        for router in self.routers:
            for worker in router.workers:
                worker.others = max(0, worker.engine.in_flight - worker.in_flight)
        if self._open:
            self._at(now + REPORT_S, self._report)
