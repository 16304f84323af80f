"""Stand-in workers: answer at once, or stream one event every 20 ms. Costs as little as it can.

`python -m benchmarks.router.worker --count 4` prints `{"ports": [...]}` and serves until SIGTERM.
A body with `"stream": true` gets `max_tokens` events; every GET gets one document, in which the
probes of all routers find what they ask an engine for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
from typing import Any, cast

import httptools
import uvloop

MODEL = "bench"
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_TOKENS = re.compile(rb'"max_tokens"\s*:\s*(\d+)')


def _response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(delta: dict[str, Any], reason: str | None = None) -> bytes:
    document = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
        "usage": None,
    }
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


_USAGE = {"prompt_tokens": 500, "completion_tokens": 20, "total_tokens": 520}
ANSWER = _response(
    json.dumps(
        {
            "id": "chatcmpl-0123456789abcdef",
            "object": "chat.completion",
            "created": 1790000000,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "word " * 20},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
        }
    ).encode()
)
PROBE = _response(
    json.dumps(
        {
            "status": "ok",
            "model_path": MODEL,
            "served_model_name": MODEL,
            "is_generation": True,
            "object": "list",
            "data": [{"id": MODEL, "object": "model", "owned_by": "sglang", "root": MODEL}],
        }
    ).encode()
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
TOKEN = _chunk(_event({"content": " word"}))
STREAM_END = _chunk(_event({}, "stop")) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class EngineConnection(asyncio.Protocol):
    """One connection from a router (or from the generator, when it goes direct)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float) -> None:
        self._loop, self._interval_s = loop, interval_s
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._body.clear()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_method() != b"POST":
            self._transport.write(PROBE)
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        # The cheap search first: most bodies have no such key, and some have 64 KB.
        if b'"stream"' not in body or not _STREAM.search(body):
            self._transport.write(ANSWER)
            return
        tokens = _TOKENS.search(body)
        self._transport.write(STREAM_HEAD)
        self._next = self._loop.time()
        self._token(int(tokens[1]) if tokens else 16)

    def _token(self, left: int) -> None:
        if left == 0:
            self._timer = None
            self._transport.write(STREAM_END)
            return
        self._transport.write(TOKEN)
        self._next += self._interval_s
        self._timer = self._loop.call_at(self._next, self._token, left - 1)


async def serve(count: int, interval_s: float) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    servers = [
        await loop.create_server(
            lambda: EngineConnection(loop, interval_s), "127.0.0.1", 0, backlog=4096
        )
        for _ in range(count)
    ]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    sys.stdout.write(json.dumps({"ports": ports}) + "\n")
    sys.stdout.flush()
    await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Stand-in workers for the router benchmark.")
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--interval-ms", type=float, default=20.0)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.count, arguments.interval_ms / 1000))


if __name__ == "__main__":
    main()
