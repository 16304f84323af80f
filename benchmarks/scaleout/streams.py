"""Streams through everything that takes a worker or a router away, and how each of them ended."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from benchmarks.scaleout.environment import Environment
from benchmarks.scaleout.events import EVENTS, Event
from tests.e2e.streams import Streamed, stream

_STREAM_S = 300.0


@dataclass(frozen=True)
class Outcome:
    """What became of the streams of one event.

    `under_way`: those that had begun, and not ended, when the event began; `during`: those that
    began before it was over.
    """

    event: str
    streams: int
    under_way: int
    during: int
    workers: int
    truncated: tuple[Streamed, ...]
    failed: tuple[Streamed, ...]
    seconds: float

    @property
    def clean(self) -> bool:
        return not self.truncated and not self.failed


def through_events(
    environment: Environment, total: int, at_once: int, tokens: int, say: Callable[[str], None]
) -> Iterator[Outcome]:
    """Each event under load, with its share of `total` streams at least."""
    for event in EVENTS.values():
        event.prepare(environment)
        outcome = asyncio.run(
            through(environment, event, -(-total // len(EVENTS)), at_once, tokens)
        )
        say(f"{outcome.event}: {outcome.streams} streams, clean: {outcome.clean}")
        yield outcome


async def through(
    environment: Environment, event: Event, count: int, at_once: int, tokens: int
) -> Outcome:
    """`at_once` clients, each with one stream after the other, until the event is over."""
    load = Load(environment.url, environment.key, count, at_once, tokens)
    clients = asyncio.create_task(load.run())
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_STREAM_S):
            await load.flowing.wait()
        began, under_way = loop.time(), load.open
        await asyncio.to_thread(event.happen, environment)
        seconds, during = loop.time() - began, load.begun
        load.enough.set()
        await clients
    finally:
        clients.cancel()
    ended = load.ended
    return Outcome(
        event.name, len(ended), under_way, during, len({one.worker for one in ended}),
        tuple(one for one in ended if not one.complete and one.tokens),
        tuple(one for one in ended if not one.complete and not one.tokens),
        seconds,
    )  # fmt: skip


class Load:
    """A closed loop of clients. Ends after `count` streams and when `enough` is set.

    `flowing` is set when the first stream has ended: the others are in the midst of theirs.
    """

    def __init__(self, url: str, key: str, count: int, at_once: int, tokens: int) -> None:
        self._url, self._count, self._at_once, self._tokens = url, count, at_once, tokens
        self._headers = {"Authorization": f"Bearer {key}"}
        self._numbers = itertools.count()
        self.flowing, self.enough = asyncio.Event(), asyncio.Event()
        self.ended: list[Streamed] = []
        self.begun = 0

    @property
    def open(self) -> int:
        return self.begun - len(self.ended)

    async def run(self) -> None:
        limits = httpx.Limits(max_connections=self._at_once)
        async with (
            httpx.AsyncClient(
                timeout=_STREAM_S, headers=self._headers, limits=limits, trust_env=False
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(self._at_once):
                group.create_task(self._client(client))

    async def _client(self, client: httpx.AsyncClient) -> None:
        while self.begun < self._count or not self.enough.is_set():
            self.begun += 1
            body = {
                "model": "tiny", "stream": True, "max_tokens": self._tokens, "ignore_eos": True,
                "messages": [{"role": "user", "content": f"{next(self._numbers)} and then?"}],
            }  # fmt: skip
            self.ended.append(await stream(client, self._url, body))
            self.flowing.set()
