"""So many streams at once, one after the other, until told that it is enough."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.streams.ask import Ask, Outcome, judge
from benchmarks.streams.client import Target, stream

#: Beyond what a stream takes by its tokens: queues, a busy machine.
_GRACE_S = 120.0
_KEPT_EXAMPLES = 10


@dataclass(frozen=True)
class Shape:
    """`at_once` streams of `tokens` tokens, one each `itl_s` seconds."""

    at_once: int
    tokens: int
    itl_s: float
    model: str

    @property
    def stream_s(self) -> float:
        return self.tokens * self.itl_s


@dataclass(frozen=True)
class Record:
    """A finished stream; times of the wall clock, in seconds."""

    outcome: Outcome
    worker: str
    started_at: float
    head_at: float
    ended_at: float


@dataclass
class Load:
    """`run`, then `finish`; `records` has one of each stream, `examples` those that broke."""

    target: Target
    shape: Shape
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    records: list[Record] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    def __post_init__(self) -> None:
        self._enough = asyncio.Event()
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Until `finish` and the end of every stream."""
        async with asyncio.TaskGroup() as group:
            for place in range(self.shape.at_once):
                # Begun over one stream's length: so they also end spread out.
                delay = self.shape.stream_s * place / self.shape.at_once
                group.create_task(self._one_after_another(delay))

    def finish(self) -> None:
        """Begin no further stream."""
        self._enough.set()

    async def full(self) -> None:
        """Until all places have had a stream at the same time."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.most_open >= self.shape.at_once)

    async def ended(self, count: int) -> None:
        """Until so many streams are over."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.records) >= count)

    async def _one_after_another(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        while not self._enough.is_set():
            await self._one()

    async def _one(self) -> None:
        ask = Ask(next(self.numbers), self.shape.tokens, self.shape.model)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        await self._tell()
        answer = await stream(self.target, ask, self.shape.stream_s + _GRACE_S)
        self.open -= 1
        outcome, seen = judge(ask, answer)
        self.records.append(
            Record(outcome, answer.worker, answer.started_at, answer.head_at, answer.ended_at)
        )
        if outcome is not Outcome.COMPLETE and len(self.examples) < _KEPT_EXAMPLES:
            self.examples.append(
                f"{outcome}: number {ask.number} on {answer.worker} through {answer.router},"
                f" begun {answer.started_at:.2f}, over {answer.ended_at:.2f}: {seen}"
            )
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
