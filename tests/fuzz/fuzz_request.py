"""Fuzzes the request path: bytes into a client's connection, coverage-guided (atheris, libFuzzer).

    python tests/fuzz/fuzz_request.py --runs 100000 [--seed N] [CORPUS_DIR]

For any bytes, cut anywhere: no exception escapes; after a refusal nothing is served and nothing is
read; and a connection with remembered heads serves what one that has llhttp alone serves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["sglrouter.wire"]):
    from sglrouter.log import Log
    from sglrouter.models import RouterDocument
    from sglrouter.serving.core import Router
    from sglrouter.wire.client import ClientConnection
    from sglrouter.wire.memory import RequestMemory
    from sglrouter.wire.reader import Request

MAX_BODY, MAX_HEADERS = 2000, 4000
DOCUMENT = {
    "environment": "local",
    "fleets": {"chat": {"models": ["tiny"]}},
    "limits": {"max_body_bytes": MAX_BODY, "max_header_bytes": MAX_HEADERS},
    "discovery": {"kind": "static", "workers": [{"url": "http://127.0.0.1:1", "fleet": "chat"}]},
}
GOOD = b'POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n{"model":"tiny"}'
# What streams are put together of, besides bytes of the fuzzer's own.
FRAGMENTS = [
    GOOD,
    GOOD,
    b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n",
    b"GET /v1/x?a=b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"content-length: 3\r\n",
    b"Content-Length:3\r\n",
    b"content-length: ",
    b"transfer-encoding: chunked\r\n",
    b"x-request-id: abc\r\n",
    b"traceparent: 00-ab-cd-01\r\n",
    b"x-forwarded-for: 1.2.3.4, 5.6.7.8\r\n",
    b"x-session-id: s\r\n",
    b"connection: close\r\n",
    b"connection: x-session-id, keep-alive\r\n",
    b"upgrade: h2c\r\nconnection: upgrade\r\n",
    b"expect: 100-continue\r\n",
    b"\r\n",
    b"\n",
    b" ",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"a" * 1500,
]


class FakeTransport:
    """Takes what is written; remembers that it was closed."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1)

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Everything is fed anyway."""

    resume_reading = pause_reading


class NoMemory(RequestMemory):
    def add(self, *_args: Any, **_options: Any) -> None:
        """llhttp alone."""


class Recorder(Router):
    """Answers at once, and keeps what it was asked."""

    def serve(self, client: ClientConnection, request: Request) -> None:
        head, failure = request.head, request.failure
        self.asked.append(
            (
                None if head is None else (head.method, head.target, head.passed, head.session),
                request.body,
                request.close,
                None if failure is None else (failure.status, failure.code),
            )
        )
        client.transport.write(b"answer")
        client.finished(close=request.close)

    forward = serve  # where requests with a remembered head go at once
    asked: list[Any]


def served(router: Recorder, memory: RequestMemory, segments: list[bytes]) -> list[Any]:
    """What the router was asked on one connection, and whether it was closed."""
    router.known_requests, router.asked = memory, []
    transport = FakeTransport()
    connection = ClientConnection(router)
    connection.connection_made(transport)  # type: ignore[arg-type]
    for segment in segments:
        connection.data_received(segment)
        closing = [asked for asked in router.asked if asked[2]]
        assert closing in ([], router.asked[-1:]), "served behind the end of the connection"
        assert not closing or transport.closed, "refused, but not closed"
    assert len(transport.written) == len(router.asked) + transport.written.count(CONTINUE)
    connection.connection_lost(None)
    return [*router.asked, transport.closed]


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def segments_of(data: bytes) -> list[bytes]:
    """A stream of fragments and free bytes, cut into segments."""
    source = atheris.FuzzedDataProvider(data)
    segments, segment = [], b""
    for _ in range(40):
        if not source.remaining_bytes():
            break
        choice = source.ConsumeIntInRange(0, len(FRAGMENTS) + 3)
        if choice < len(FRAGMENTS):
            segment += FRAGMENTS[choice]
        elif choice == len(FRAGMENTS):
            segment += source.ConsumeBytes(source.ConsumeIntInRange(1, 30))
        elif choice == len(FRAGMENTS) + 1 and segment:
            keep = source.ConsumeIntInRange(0, len(segment) - 1)
            segments.append(segment[: keep + 1])
            segment = segment[keep + 1 :]
        else:
            segments.append(segment)
            segment = b""
    return [piece for piece in [*segments, segment] if piece]


def make_target() -> Any:
    """The function libFuzzer calls."""

    async def make() -> Recorder:
        return Recorder(RouterDocument.model_validate(DOCUMENT), Log(os.open(os.devnull, 1)))

    loop = asyncio.new_event_loop()
    router = loop.run_until_complete(make())

    def target(data: bytes) -> None:
        segments = segments_of(data)
        memory = RequestMemory(router.document)
        by_parser = served(router, NoMemory(router.document), segments)
        for _ in range(3):  # the first fills the memory, the third reads from it
            assert served(router, memory, segments) == by_parser, segments

    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("corpus", nargs="*")
    arguments = parser.parse_args()
    options = [
        f"-runs={arguments.runs}",
        f"-seed={arguments.seed}",
        "-max_len=256",
        "-len_control=0",
        "-timeout=20",
    ]
    atheris.Setup([sys.argv[0], *options, *arguments.corpus], make_target())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
