"""A client that costs next to nothing: one asyncio protocol a stream, parsed in C."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import cast

import httptools

from benchmarks.streams.ask import Answer, Ask


@dataclass(frozen=True)
class Target:
    """Where streams go; `key` is the client's."""

    host: str
    port: int
    key: str

    def request(self, ask: Ask) -> bytes:
        """A whole request; its connection is used once, so each stream makes its own connect."""
        body = ask.body()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self.host}:{self.port}\r\n"
            f"authorization: Bearer {self.key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        return head.encode() + body


class _Stream(asyncio.Protocol):
    """Sends the request and gathers the answer; `ended` is done when either side has closed."""

    def __init__(self, request: bytes, answer: Answer) -> None:
        self._request = request
        self._answer = answer
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.WriteTransport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by its class
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._answer.error = f"no HTTP: {error}"
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self._answer.whole:
            self._answer.error = repr(exc)
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self._answer.ended_at = time.time()
            self.ended.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"x-sglctl-worker":
            self._answer.worker = value.decode()
        elif name == b"x-sglctl-router":
            self._answer.router = value.decode()

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        self._answer.head_at = time.time()

    def on_body(self, data: bytes) -> None:
        self._answer.body += data

    def on_message_complete(self) -> None:
        self._answer.whole = True
        self._end()
        self.close()


async def stream(target: Target, ask: Ask, within_s: float) -> Answer:
    """Stream one answer to its end, or to the deadline, which counts as an error."""
    answer = Answer(started_at=time.time())
    loop = asyncio.get_running_loop()
    protocol: _Stream | None = None
    try:
        async with asyncio.timeout(within_s):
            _, protocol = await loop.create_connection(
                lambda: _Stream(target.request(ask), answer), target.host, target.port
            )
            await protocol.ended
    except TimeoutError:
        answer.error = f"not over within {within_s:g} s"
    except OSError as error:
        answer.error = repr(error)
    finally:
        if protocol is not None:
            protocol.close()
    answer.ended_at = answer.ended_at or time.time()
    return answer
