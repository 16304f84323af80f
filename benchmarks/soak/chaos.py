"""What happens to the fleet meanwhile: drawn from a seed, one thing at a time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from benchmarks.soak.fleet import Fleet

#: A worker may be away or draining; never so many that none is left.
_SPARE = 2


@dataclass
class Chaos:
    """`run` until cancelled, then `calm`. `kills`: when a router process was killed (loop time)."""

    fleet: Fleet
    seed: int
    pause_s: float = 0.4
    kills: list[float] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)  # noqa: S311 - repeatable, not secret
        self._dead: list[int] = []
        self._draining: list[int] = []

    async def run(self) -> None:
        names = ["kill worker", "start worker", "drain", "undrain", "reload"]
        weights = [3, 3, 2, 2, 1]
        if self.fleet.processes > 1:
            names, weights = [*names, "kill process"], [*weights, 1]
        async with aiohttp.ClientSession(trust_env=False) as session:
            while True:
                await asyncio.sleep(self._rng.uniform(0.5, 1.5) * self.pause_s)
                await self._do(self._rng.choices(names, weights)[0], session)

    async def _do(self, what: str, session: aiohttp.ClientSession) -> None:
        away = set(self._dead) | set(self._draining)
        free = [port for port in self.fleet.ports if port not in away]
        if what == "kill worker" and len(free) > _SPARE:
            self._dead.append(self._rng.choice(free))
            self.fleet.kill_worker(self._dead[-1])
        elif what == "start worker" and self._dead:
            self.fleet.start_worker(self._dead.pop(0))
        elif what == "drain" and len(free) > _SPARE:
            self._draining.append(self._rng.choice(free))
            await self._tell(session, self._draining[-1], "on")
        elif what == "undrain" and self._draining:
            await self._tell(session, self._draining.pop(0), "off")
        elif what == "reload":
            self.fleet.reload()
        elif what == "kill process" and (pids := self.fleet.data_processes()):
            self.kills.append(asyncio.get_running_loop().time())
            self.fleet.kill_data_process(self._rng.choice(pids))
        else:
            return
        self.happened[what] += 1

    async def _tell(self, session: aiohttp.ClientSession, port: int, state: str) -> None:
        try:
            async with session.post(f"http://127.0.0.1:{port}/drain/{state}"):
                pass
        except aiohttp.ClientError:
            return  # it is just starting: a new worker does not drain

    async def calm(self) -> None:
        """Everyone is back, and takes requests."""
        async with aiohttp.ClientSession(trust_env=False) as session:
            for port in self._draining:
                await self._tell(session, port, "off")
        for port in self._dead:
            self.fleet.start_worker(port)
        await self.fleet.until_ready(len(self.fleet.ports))

    def killed_between(self, start: float, end: float) -> bool:
        """A connection kept from before may only now turn out to be dead: a second's grace."""
        return any(start - 1.0 <= at <= end for at in self.kills)
