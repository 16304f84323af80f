"""A worker that answers at once and misbehaves at random: `python -m benchmarks.soak.worker`.

It is engine and agent in one: `GET /state` is the agent's document. `POST /drain/on` and
`/drain/off` change its state. Which request meets which fault is drawn from its seed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from dataclasses import dataclass
from typing import Any

import httptools
import uvloop

_SINCE = "2026-11-21T10:00:00Z"
#: Longer than the first-byte deadline that the soak gives the router (`fleet.FIRST_BYTE_S`).
_SLOW_S = 1.6
_EVENT_PAUSE_S = 0.002


@dataclass(frozen=True)
class Faults:
    """Shares of the requests; what is left is served."""

    reset: float = 0.01
    unavailable: float = 0.01
    slow: float = 0.004
    cut: float = 0.01

    def draw(self, rng: random.Random) -> str:
        names = ["reset", "unavailable", "slow", "cut"]
        shares = [getattr(self, name) for name in names]
        return rng.choices([*names, ""], [*shares, 1 - sum(shares)])[0]


class State:
    """What all connections of a worker share."""

    def __init__(self, port: int, seed: int, faults: Faults) -> None:
        self.port, self.faults = port, faults
        self.rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.draining = False
        self.running = 0

    def document(self) -> dict[str, Any]:
        return {
            "version": 1, "instance_id": f"i-{self.port}", "environment": "local",
            "fleet": "soak", "role": "regular", "release": "1", "model": "soak",
            "served_model_name": "soak", "engine": "stub", "engine_version": "1",
            "engine_url": f"http://127.0.0.1:{self.port}", "since": _SINCE,
            "state": "draining" if self.draining else "ready", "in_flight": self.running,
        }  # fmt: skip


class Connection(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._parser = httptools.HttpRequestParser(self)
        self._work: asyncio.Task[None] | None = None
        self._url, self._body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._work is not None:
            self._work.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url, self._body = url, b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._url.startswith(b"/v1/"):
            self._work = asyncio.get_running_loop().create_task(self._serve(self._body))
            return
        if self._url.startswith(b"/drain/"):
            self._state.draining = self._url.endswith(b"/on")
        self._reply(self._state.document())

    def _reply(self, document: Any, status: bytes = b"200 OK") -> None:
        body = json.dumps(document).encode()
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )

    async def _serve(self, body: bytes) -> None:
        state = self._state
        state.running += 1
        try:
            await self._answer(json.loads(body), state.faults.draw(state.rng))
        finally:
            state.running -= 1

    async def _answer(self, ask: dict[str, Any], fault: str) -> None:
        if fault == "reset":
            self._transport.abort()
            return
        if fault == "unavailable":
            self._reply({"error": {"message": "not now"}}, b"503 Service Unavailable")
            return
        if fault == "slow":
            await asyncio.sleep(_SLOW_S)
        if ask["stream"]:
            await self._stream(ask, cut=fault == "cut")
        elif fault == "cut":
            self._transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"no')
            self._end()
        else:
            self._reply({"nonce": ask["nonce"], "number": ask["tokens"]})

    async def _stream(self, ask: dict[str, Any], *, cut: bool) -> None:
        rng, tokens = self._state.rng, ask["tokens"]
        last = rng.randrange(tokens) if cut else tokens
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(last):
            self._event(json.dumps({"nonce": ask["nonce"], "number": number}).encode())
            await asyncio.sleep(_EVENT_PAUSE_S)
        if cut:
            if rng.random() < 0.5:  # inside an event, else between two
                self._transport.write(b'40\r\ndata: {"non')
            self._end()
            return
        self._event(b"[DONE]")
        self._transport.write(b"0\r\n\r\n")

    def _event(self, text: bytes) -> None:
        event = b"data: %b\n\n" % text
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))

    def _end(self) -> None:
        """As a dying engine does: an end of stream, or a reset."""
        self._transport.close() if self._state.rng.random() < 0.5 else self._transport.abort()


async def serve(port: int, seed: int, faults: Faults) -> None:
    """Until killed."""
    state = State(port, seed, faults)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(state), "127.0.0.1", port, backlog=1024, reuse_address=True
    )
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak.worker")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--well", action="store_true", help="no faults")
    given = parser.parse_args()
    faults = Faults(0, 0, 0, 0) if given.well else Faults()
    uvloop.run(serve(given.port, given.seed, faults))


if __name__ == "__main__":
    main()
