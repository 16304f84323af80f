"""Clients that read every byte, some of which leave before the end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from benchmarks.soak.chaos import Chaos
from benchmarks.soak.outcomes import ACCOUNTED, Ask, Outcome, Seen, judge

#: The router's own bounds are far below: queue 30 s, three attempts of 1 s, a stream of 0.2 s.
ANSWER_S = 60.0
_LEAVES, _STREAMS = 0.03, 0.7
_PREFIXES = 50
_KEPT_EXAMPLES = 5


def draw(rng: random.Random, number: int) -> tuple[Ask, float | None]:
    """A request, and after how many seconds its client leaves (None: it stays)."""
    prefix = f"Conversation {rng.randrange(_PREFIXES)}. " * rng.randint(1, 30)
    ask = Ask(f"n{number}", rng.randint(1, 16), rng.random() < _STREAMS, prefix + str(number))
    return ask, rng.uniform(0, 0.06) if rng.random() < _LEAVES else None


@dataclass
class Clients:
    """`count` requests, `at_once` at a time; `outcomes` of all, `examples` of the worst."""

    url: str
    chaos: Chaos
    seed: int
    count: int
    at_once: int
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    started: int = 0

    async def run(self) -> None:
        self._rng = random.Random(self.seed)  # noqa: S311 - repeatable, not secret
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3)
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=False) as session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(self.at_once):
                group.create_task(self._one_after_another(session))

    async def _one_after_another(self, session: aiohttp.ClientSession) -> None:
        while self.started < self.count:
            self.started += 1
            ask, leaves_after = draw(self._rng, self.started)
            self._account(ask, *await self._ask(session, ask, leaves_after))

    def _account(self, ask: Ask, outcome: Outcome, seen: Seen) -> None:
        self.outcomes[outcome] += 1
        if outcome not in ACCOUNTED and len(self.examples) < _KEPT_EXAMPLES:
            end = seen.body[-200:].decode(errors="replace")
            self.examples.append(f"{outcome}: {ask.nonce} {seen.status} …{end!r}")

    async def _ask(
        self, session: aiohttp.ClientSession, ask: Ask, leaves_after: float | None
    ) -> tuple[Outcome, Seen]:
        seen, loop = Seen(), asyncio.get_running_loop()
        start = loop.time()
        try:
            async with asyncio.timeout(ANSWER_S if leaves_after is None else leaves_after):
                await self._read(session, ask, seen)
        except TimeoutError:
            return (Outcome.HANG if leaves_after is None else Outcome.LEFT), seen
        return judge(ask, seen, killed=self.chaos.killed_between(start, loop.time())), seen

    async def _read(self, session: aiohttp.ClientSession, ask: Ask, seen: Seen) -> None:
        body = {"model": "soak", "prompt": ask.prompt, "stream": ask.stream,
                "nonce": ask.nonce, "tokens": ask.tokens}  # fmt: skip
        try:
            async with session.post(f"{self.url}/v1/completions", json=body) as response:
                seen.status = response.status
                async for data in response.content.iter_any():
                    seen.body += data
        except aiohttp.ClientPayloadError:
            seen.cut = True
        except (aiohttp.ClientConnectionError, ConnectionError):
            seen.cut, seen.lost = True, seen.status == 0
