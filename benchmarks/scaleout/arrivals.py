"""Watch new workers arrive, as the group, the routers and a client see it."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import dataclass, field

import httpx

from benchmarks.scaleout.environment import LOOK_S, ON_DEMAND, Environment
from benchmarks.scaleout.errors import ScaleoutError

_START_S = 1800.0
#: The load balancer asks one router after the other: so many in a row, and each of them knows.
_ROUTERS = 2
#: So many requests at once that a new worker, which is idle, gets one of them.
_PROBES = 4


@dataclass
class Arrivals:
    """Seconds of the epoch. `known[n]`: when every router had n + 1 workers more than before."""

    environment: Environment
    before: frozenset[str]
    wanted: int
    in_service: dict[str, float] = field(default_factory=dict)
    known: list[float] = field(default_factory=list)
    first_token: dict[str, float] = field(default_factory=dict)

    async def watch(self) -> None:
        """Until all have come and answered. Raises ScaleoutError."""
        headers = {"Authorization": f"Bearer {self.environment.key}"}
        async with httpx.AsyncClient(timeout=60, headers=headers, trust_env=False) as client:
            await asyncio.gather(self._look(client), self._ask(client))

    async def _look(self, client: httpx.AsyncClient) -> None:
        deadline, rows = time.monotonic() + _START_S, 0
        while len(self.in_service) < self.wanted or len(self.known) < self.wanted:
            members = await asyncio.to_thread(self.environment.members, ON_DEMAND)
            for name, state in members.items():
                if state == "InService" and name not in self.before:
                    self.in_service.setdefault(name, time.time())
            more = await self._ready(client) - len(self.before)
            rows = rows + 1 if more > len(self.known) else 0
            if rows == _ROUTERS:
                self.known.append(time.time())
                rows = 0
            if time.monotonic() > deadline:
                raise ScaleoutError(f"not in service within {_START_S:g} s: {members}")
            await asyncio.sleep(LOOK_S)

    async def _ready(self, client: httpx.AsyncClient) -> int:
        """As one of the routers counts; 0 where the load balancer answers for want of a router."""
        answer = await client.get(f"{self.environment.url}/health")
        told = answer.headers.get("content-type", "").startswith("application/json")
        return int(answer.json()["ready_workers"]) if told else 0

    async def _ask(self, client: httpx.AsyncClient) -> None:
        """Ask whenever routers know a worker that has not answered yet."""
        deadline = time.monotonic() + _START_S
        for number in itertools.count():
            if len(self.first_token) == self.wanted:
                return
            if len(self.known) > len(self.first_token):
                words = (f"{number}.{i}: who are you?" for i in range(_PROBES))
                asked = (first_token(client, self.environment.url, text) for text in words)
                for worker, at in await asyncio.gather(*asked):
                    if worker and worker not in self.before:
                        self.first_token.setdefault(worker, at)
            if time.monotonic() > deadline:
                raise ScaleoutError(f"no token of a new worker within {_START_S:g} s")
            await asyncio.sleep(LOOK_S)


async def first_token(client: httpx.AsyncClient, url: str, words: str) -> tuple[str, float]:
    """Who answered, and when its first text came; '' where none did (the model is random)."""
    body = {
        "model": "tiny", "stream": True, "max_tokens": 16, "ignore_eos": True,
        "messages": [{"role": "user", "content": words}],
    }  # fmt: skip
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: {") and _text(line):
                return response.headers["x-sglctl-worker"], time.time()
    return "", 0.0


def _text(line: str) -> str:
    choices = json.loads(line[6:])["choices"]
    return choices[0]["delta"].get("content") or "" if choices else ""
