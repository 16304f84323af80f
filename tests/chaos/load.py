"""Clients that ask again as soon as they are answered, and account for every request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.soak.outcomes import Ask, Outcome, Seen, judge
from tests.chaos.judge import Request
from tests.chaos.scenario import Load

#: The router's own bounds are below: queue 20 s, three attempts of 5 s, a stream of 6 s when slow.
ANSWER_S = 60.0
#: A client that was refused asks again after this long.
REFUSED_PAUSE_S = 0.2
#: Every fourth request is not a stream: until its one byte it can be asked of another worker.
_DOCUMENT_EVERY = 4


@dataclass(frozen=True)
class CompletionAsk(Ask):
    """A completion of exactly `tokens` tokens; `nonce` is the model."""

    def is_of(self, document: Mapping[str, Any], number: int) -> bool:
        choices = document.get("choices")
        if document.get("model") != self.nonce or not isinstance(choices, list):
            return False
        usage = document.get("usage")
        if usage:
            return bool(usage.get("completion_tokens") == self.tokens == number)
        finished = choices[0].get("finish_reason") is not None
        return self.stream and finished == (number == self.tokens - 1)


@dataclass
class Clients:
    """The load on one fleet. `requests`: those that ended."""

    url: str
    key: str
    model: str
    load: Load
    requests: list[Request] = field(default_factory=list)
    _open: dict[int, tuple[str, float]] = field(default_factory=dict)
    _stopped: bool = False
    _count: int = 0

    async def run(self) -> None:
        """Until `stop`, and then until every request has ended."""
        self._begin = asyncio.get_running_loop().time()
        headers = {"Authorization": f"Bearer {self.key}"}
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5)
        async with (
            aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False) as session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(self.load.clients):
                group.create_task(self._one_after_another(session))

    def stop(self) -> None:
        """No further requests."""
        self._stopped = True

    def now(self) -> float:
        """Seconds since the load began."""
        return asyncio.get_running_loop().time() - self._begin

    def complete(self) -> list[Request]:
        """Those that ended whole."""
        return [one for one in self.requests if one.outcome is Outcome.COMPLETE]

    def busy(self) -> set[str]:
        """Workers that are answering now."""
        return {worker for worker, _ in self._open.values() if worker}

    async def _one_after_another(self, session: aiohttp.ClientSession) -> None:
        while not self._stopped:
            self._count += 1
            number = self._count
            ask = self._draw(number)
            begun = self.now()
            self._open[number] = ("", begun)
            outcome, seen = await self._ask(session, ask, number)
            worker, _ = self._open.pop(number)
            self._account(outcome, seen, worker, begun)
            if outcome is not Outcome.COMPLETE:
                await asyncio.sleep(REFUSED_PAUSE_S)

    def _draw(self, number: int) -> Ask:
        stream = number % _DOCUMENT_EVERY != 0
        # A document's first byte is its last: a long one would be beyond its deadline.
        choice = self.load.tokens if stream else (min(self.load.tokens),)
        tokens = choice[number % len(choice)]
        # Prompts differ from their first word on: requests spread over the workers.
        prompt = f"{number * 7919 % 100_003} is the number of this story. Tell it."
        return CompletionAsk(self.model, tokens, stream, prompt)

    def _account(self, outcome: Outcome, seen: Seen, worker: str, begun: float) -> None:
        code = _code(seen.body) if outcome is Outcome.REFUSED else ""
        end = seen.body[-160:].decode(errors="replace").replace("\n", " ")
        detail = f"{seen.status} …{end}" if outcome is not Outcome.COMPLETE else ""
        self.requests.append(Request(outcome, worker, begun, self.now(), code, detail))

    async def _ask(
        self, session: aiohttp.ClientSession, ask: Ask, number: int
    ) -> tuple[Outcome, Seen]:
        seen = Seen()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._read(session, ask, seen, number)
        except TimeoutError:
            return Outcome.HANG, seen
        return judge(ask, seen), seen

    async def _read(
        self, session: aiohttp.ClientSession, ask: Ask, seen: Seen, number: int
    ) -> None:
        body = {"model": self.model, "prompt": ask.prompt, "stream": ask.stream,
                "max_tokens": ask.tokens, "ignore_eos": True}  # fmt: skip
        try:
            async with session.post(f"{self.url}/v1/completions", json=body) as response:
                seen.status = response.status
                worker = response.headers.get("x-sglctl-worker", "")
                self._open[number] = (worker, self._open[number][1])
                async for data in response.content.iter_any():
                    seen.body += data
        except aiohttp.ClientPayloadError:
            seen.cut = True
        except (aiohttp.ClientError, ConnectionError):
            seen.cut, seen.lost = True, seen.status == 0


def _code(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"].get("code"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
