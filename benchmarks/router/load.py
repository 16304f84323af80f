"""The load generator: a process that reads jobs (JSON lines) and answers each with its figures.

Raw asyncio protocols on uvloop, because a client library costs more than a router does.
In the open loop (`rate`) arrivals are scheduled and latency counts from the scheduled arrival, so
a router that stalls is charged for the requests that had to wait (coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

import httptools
import uvloop

from benchmarks.router.connects import STALL_S, connect_at_once
from benchmarks.router.prompts import Prompts

Figures = dict[str, float]
_GRACE_S = 20.0


class ClientConnection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it; `done(ok)` after each."""

    def __init__(self, done: Callable[[ClientConnection, bool], None]) -> None:
        self._done = done
        self._parser: httptools.HttpResponseParser | None = None
        self._carry = b""
        self.events = 0
        self.at = 0.0
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def send(self, request: bytes, at: float) -> None:
        """`at`: when the request was due."""
        self.at = at
        self._parser = httptools.HttpResponseParser(self)
        self._carry = b""
        self._transport.write(request)

    def close(self) -> None:
        self._parser = None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish(False)
            self.close()

    def on_body(self, body: bytes) -> None:
        # An event ends with an empty line, which two reads may share.
        self.events += (self._carry + body).count(b"\n\n")
        self._carry = b"\n" if body.endswith(b"\n") and not body.endswith(b"\n\n") else b""

    def on_message_complete(self) -> None:
        assert self._parser is not None
        self._finish(self._parser.get_status_code() == 200)

    def _finish(self, good: bool) -> None:
        self._parser = None
        self._done(self, good)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._parser is not None:
            self._finish(False)


def summary(latencies: list[float]) -> Figures:
    """p50, p99 and maximum in µs of latencies in seconds."""
    if len(latencies) < 2:
        value = latencies[0] * 1e6 if latencies else float("nan")
        return {"p50_us": value, "p99_us": value, "max_us": value}
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {"p50_us": cuts[49] * 1e6, "p99_us": cuts[98] * 1e6, "max_us": max(latencies) * 1e6}


class Run:
    """Connections to one port and what came of the requests on them."""

    def __init__(self, port: int, total: int) -> None:
        self.port, self.total = port, total
        self.latencies: list[float] = []
        self.errors = 0
        self.events = 0
        self.all: list[ClientConnection] = []
        self.idle: list[ClientConnection] = []
        self.waiting: deque[tuple[bytes, float]] = deque()
        self.refill: Callable[[], bytes] | None = None  # closed loop: the next request
        self.left = 0
        self.over = asyncio.Event()

    async def connect(self, count: int) -> None:
        for _ in range(count):
            self.idle.append(await self.connection(host="127.0.0.1", port=self.port))

    async def connection(self, **address: Any) -> ClientConnection:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: ClientConnection(self.done), **address)
        self.all.append(made)
        return made

    def offer(self, request: bytes, at: float) -> None:
        """Send now, or as soon as a connection is free."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.lost:
                connection.send(request, at)
                return
        self.waiting.append((request, at))

    def done(self, connection: ClientConnection, good: bool) -> None:
        if good:
            self.latencies.append(time.perf_counter() - connection.at)
        else:
            self.errors += 1
        self.events += connection.events
        connection.events = 0
        if len(self.latencies) + self.errors >= self.total:
            self.over.set()
        if not connection.lost:
            if self.waiting:
                connection.send(*self.waiting.popleft())
            elif self.refill is not None and self.left:
                self.left -= 1
                connection.send(self.refill(), time.perf_counter())
            else:
                self.idle.append(connection)

    async def finish(self, timeout_s: float) -> None:
        """Wait for every answer; one that does not come in time is an error."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.over.wait()
        except TimeoutError:
            self.errors = self.total - len(self.latencies)

    def close(self) -> None:
        for connection in self.all:
            connection.close()

    def figures(self, started: float) -> Figures:
        return {
            "requests": self.total,
            "errors": self.errors,
            "seconds": time.perf_counter() - started,
            **summary(self.latencies),
        }


async def rate(
    port: int, requests: int, rate: float, connections: int, size: int, seed: int
) -> Figures:
    """Poisson arrivals at `rate` per second over a fixed set of connections."""
    prompts, draw = Prompts(size, seed), random.Random(seed)  # noqa: S311
    run = Run(port, requests)
    await run.connect(connections)
    due = started = time.perf_counter()
    sent = 0
    while sent < requests:
        now = time.perf_counter()
        while due <= now and sent < requests:
            run.offer(prompts.next(), due)
            due += draw.expovariate(rate)
            sent += 1
        await asyncio.sleep(0.001)
    await run.finish(_GRACE_S)
    run.close()
    return run.figures(started)


async def closed(port: int, requests: int, connections: int, size: int, seed: int) -> Figures:
    """Each connection sends its next request when it has the answer to the last."""
    prompts = Prompts(size, seed)
    run = Run(port, requests)
    await run.connect(connections)
    run.refill, run.left = prompts.next, requests - connections
    started = time.perf_counter()
    for _ in range(connections):
        run.offer(prompts.next(), time.perf_counter())
    await run.finish(_GRACE_S)
    run.close()
    return run.figures(started)


async def serial(port: int, requests: int, size: int, seed: int) -> Figures:
    """One connection, one request after the other."""
    prompts = Prompts(size, seed)
    run = Run(port, 0)
    await run.connect(1)
    started = time.perf_counter()
    for number in range(1, requests + 1):
        run.total = number
        run.over.clear()
        run.offer(prompts.next(), time.perf_counter())
        await run.finish(_GRACE_S)
        if run.errors:  # the connection is gone
            break
    run.close()
    return run.figures(started)


async def streams(port: int, streams: int, tokens: int, size: int, seed: int) -> Figures:
    """Event streams side by side, begun evenly over one second; every event is counted."""
    prompts = Prompts(size, seed, tokens)
    run = Run(port, streams)
    await run.connect(streams)
    started = time.perf_counter()
    for _ in range(streams):
        run.offer(prompts.next(), time.perf_counter())
        await asyncio.sleep(1 / streams)
    await run.finish(_GRACE_S + tokens * 0.1)
    run.close()
    return {**run.figures(started), "events": run.events}


async def connects(port: int, connections: int, size: int, seed: int) -> Figures:
    """All connections at the same moment, then one request on each."""
    prompts = Prompts(size, seed)
    run = Run(port, connections)
    started = time.perf_counter()
    sockets, waits = connect_at_once(port, connections)
    try:
        for sock in sockets:
            run.idle.append(await run.connection(sock=sock))
    except OSError:
        run.errors += 1
    for _ in sockets:
        run.offer(prompts.next(), started)
    run.errors += connections - len(sockets)
    await run.finish(_GRACE_S)
    figures = run.figures(started)
    run.close()
    stalled = connections - len(sockets) + sum(wait > STALL_S for wait in waits)
    return {**figures, "connect_max_ms": max(waits, default=0) * 1000, "stalled": stalled}


JOBS: dict[str, Callable[..., Coroutine[Any, Any, Figures]]] = {
    "rate": rate,
    "closed": closed,
    "serial": serial,
    "streams": streams,
    "connects": connects,
}


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer: dict[str, Any] = uvloop.run(JOBS[job.pop("kind")](**job))
        except OSError as error:  # refused, or TimeoutError: for the caller to judge
            answer = {"failed": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
