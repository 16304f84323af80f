"""The timing model: who waits, who runs, when each token comes.

Requests are admitted first in, first out, while a slot and KV space are free.
Prefills run one after another at `prefill_tokens_per_s` (cached tokens cost nothing) and give the
first token; the others follow at `itl_s`, each stream on its own schedule from its first token,
so that delays of the event loop do not add up.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sglocal.stub_engine.faults import Faults
from sglocal.stub_engine.options import Options
from sglocal.stub_engine.prefix_cache import PrefixCache
from sglocal.stub_engine.statistics import Statistics


class Slot:
    """One request's place in the running batch."""

    def __init__(self, scheduler: Scheduler, prompt: Sequence[int], streaming: bool) -> None:
        self.aborted = False
        self._scheduler = scheduler
        self.prompt = prompt
        self._next_at = 0.0
        self.streaming = streaming
        self.received_at = scheduler.now()
        self.admitted_at = self.received_at
        self.first_at: float | None = None
        self.last_at = self.received_at
        self.cached_tokens = 0
        self.produced = 0

    async def step(self) -> bool:
        """Wait until the next token exists; False when the request was aborted instead."""
        scheduler = self._scheduler
        await self._maybe_hang()
        if self.first_at is None:
            await self._prefill()
        else:
            self._next_at += scheduler.options.itl_s * scheduler.faults.slow_factor
            await asyncio.sleep(max(0.0, self._next_at - scheduler.now()))
        if self.aborted:
            return False
        now = scheduler.now()
        if self.first_at is None:
            self.first_at = self._next_at = now
            scheduler.statistics.first_token(now - self.received_at, self.streaming)
        else:
            scheduler.statistics.next_token(now - self.last_at, self.streaming)
        self.last_at = now
        self.produced += 1
        scheduler.used_tokens += 1
        return True

    async def _maybe_hang(self) -> None:
        faults = self._scheduler.faults
        while not self.aborted and (
            (faults.hang_before_first_byte and not self.produced)
            or (faults.hang_after_tokens is not None and self.produced >= faults.hang_after_tokens)
        ):
            await asyncio.sleep(0.05)  # until the fault is lifted or the client leaves
            self._next_at = self._scheduler.now()

    async def _prefill(self) -> None:
        scheduler = self._scheduler
        async with scheduler.prefill_lock:  # first in, first out
            self.cached_tokens = scheduler.cache.match(self.prompt)
            fresh = len(self.prompt) - self.cached_tokens
            cost = fresh / scheduler.options.prefill_tokens_per_s
            await asyncio.sleep(cost * scheduler.faults.slow_factor)
            scheduler.cache.insert(self.prompt)
            scheduler.statistics.prefilled(len(self.prompt), self.cached_tokens, self.streaming)


class Scheduler:
    """Admission and shared resources of one engine. Not thread-safe: one event loop."""

    def __init__(self, options: Options, faults: Faults) -> None:
        self.options = options
        self.faults = faults
        self.cache = PrefixCache(options.max_total_tokens)
        self.statistics = Statistics()
        self.prefill_lock = asyncio.Lock()
        self.running = 0
        self._active: dict[str, list[Slot]] = {}
        self.used_tokens = 0
        self._reserved = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self.now = time.monotonic

    @property
    def queued(self) -> int:
        return len(self._waiting)

    @property
    def token_usage(self) -> float:
        return min(1.0, self.used_tokens / self.options.max_total_tokens)

    @asynccontextmanager
    async def slot(
        self, rid: str, prompt: Sequence[int], max_tokens: int, *, streaming: bool
    ) -> AsyncIterator[Slot]:
        """Hold a place in the batch; leaving the block (or cancelling) frees it at once."""
        slot = Slot(self, prompt, streaming)
        need = min(len(prompt) + max_tokens, self.options.max_total_tokens)
        slots = self._active.setdefault(rid, [])
        slots.append(slot)
        try:
            async with self._admitted(slot, need):
                yield slot
        finally:
            slots.remove(slot)
            if not slots:
                self._active.pop(rid, None)

    @asynccontextmanager
    async def _admitted(self, slot: Slot, need: int) -> AsyncIterator[None]:
        prompt = slot.prompt
        await self._admit(need)
        slot.admitted_at = self.now()
        self.statistics.queue_time.observe(slot.admitted_at - slot.received_at)
        self.used_tokens += len(prompt)
        try:
            yield
            self.statistics.finished(self.now() - slot.received_at, slot.streaming)
        finally:
            self.used_tokens -= len(prompt) + slot.produced
            self.running -= 1
            self._reserved -= need
            self._admit_waiting()

    def abort(self, rid: str | None) -> None:
        """End a request, or all of them (None), at its next token."""
        for key in [rid] if rid is not None else list(self._active):
            for slot in self._active.get(key, []):
                slot.aborted = True

    async def _admit(self, need: int) -> None:
        entry = (asyncio.get_running_loop().create_future(), need)
        self._waiting.append(entry)
        self._admit_waiting()
        try:
            await entry[0]
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif entry[0].done() and not entry[0].cancelled():  # admitted, then cancelled
                self.running -= 1
                self._reserved -= need
            self._admit_waiting()
            raise

    def _admit_waiting(self) -> None:
        while self._waiting and self.running < self.options.max_running_requests:
            future, need = self._waiting[0]
            if self.running and self._reserved + need > self.options.max_total_tokens:
                return
            self._waiting.popleft()
            if future.cancelled():  # its own handler has nothing to give back
                continue
            self.running += 1
            self._reserved += need
            future.set_result(None)
