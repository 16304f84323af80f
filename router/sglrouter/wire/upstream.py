"""A connection to a worker: sends one request at a time, passes the answer on as it arrives.

Per token there is one parser call (llhttp, for the framing only) and one write of the same bytes.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

import httptools

from sglrouter.serving.retry import Cause

if TYPE_CHECKING:
    from sglrouter.serving.target import Receiver, Target

MAX_RESPONSE_HEAD = 64 * 1024
# uvicorn, which serves SGLang and vLLM, closes idle connections after 5 s; be first.
IDLE_S = 4.0
MAX_IDLE = 512
# A worker whose host vanished sends nothing, not even a reset: give up after 25 s.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class Upstream(asyncio.Protocol):
    """States: idle (no exchange), head (buffering the response head), streaming."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.address = target.address
        self.exchange: Receiver | None = None
        self._transport: asyncio.Transport | None = None
        self.reused = False
        self.idle_since = 0.0
        self.keep = False
        self._parser: httptools.HttpResponseParser | None = None
        self._head = b""
        self._streaming = False
        self._complete = False
        self._surplus = False
        self._boundary = False
        self._last = b""
        self._bodies: list[bytes] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # a worker that speaks unasked cannot be trusted with a request
            self.discard()
            return
        if self._streaming:
            self._stream(exchange, data)
        else:
            self._read_head(exchange, data)

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self.exchange = self.exchange, None
        self._parser = None  # it refers back to this object
        if exchange is None:
            if self in self.target.idle:
                self.target.idle.remove(self)
        elif not self._streaming:
            untouched = not self._head
            exchange.attempt_failed(Cause.STALE if self.reused and untouched else Cause.RESET)
        else:
            exchange.upstream_ended(clean=exc is None)

    # the exchange's side

    def begin(self, exchange: Receiver, head: bytes, body: bytes, *, dechunk: bool) -> None:
        """Send a request; `dechunk` unwraps a chunked answer for an HTTP/1.0 client."""
        self.exchange = exchange
        self._head = b""
        self._streaming = self._complete = self._surplus = self._boundary = False
        self._last = b""
        if dechunk:
            self._bodies = []
            self._parser = httptools.HttpResponseParser(_Dechunker(self, self._bodies))
        elif self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        if len(body) > 65536:
            self.transport.writelines([head, body])
        else:
            self.transport.write(head + body)

    def discard(self) -> None:
        """Close at once; the exchange, if any, hears nothing more of it."""
        self.exchange = None
        if self._transport is not None:
            self._transport.abort()

    def at_event_end(self) -> bool:
        """Whether what was passed on so far ends exactly after an SSE event in a whole chunk."""
        last = self._last
        return self._boundary and last.endswith((b"\n\n\r\n", b"\r\n\r\n\r\n"))

    # llhttp's side

    def on_message_begin(self) -> None:
        self._surplus = self._complete

    def on_chunk_header(self) -> None:
        self._boundary = False

    def on_chunk_complete(self) -> None:
        self._boundary = True

    def on_message_complete(self) -> None:
        self._complete = True

    # internals

    def _feed(self, data: bytes) -> bool:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return False
        return not self._surplus

    def _read_head(self, exchange: Receiver, data: bytes) -> None:
        self._head += data
        while True:
            end = self._head.find(b"\r\n\r\n")
            if end < 0 or end > MAX_RESPONSE_HEAD:
                if len(self._head) > MAX_RESPONSE_HEAD:
                    self._malformed(exchange)
                return
            raw, rest = self._head[:end], self._head[end + 4 :]
            if not self._feed(self._head[: end + 4]):
                self._malformed(exchange)
                return
            assert self._parser is not None
            status = self._parser.get_status_code()
            if status >= 200:
                break
            self._head, self._complete = rest, False  # an interim response is not for the client
        self.keep = self._parser.should_keep_alive()
        prefix = exchange.response_head(self, raw, status)
        if prefix is None:  # another worker was asked instead
            return
        self._streaming = True
        if exchange.head_only:
            self._complete, self._parser, self.keep = True, None, self.keep and not rest
            rest = b""
        self._stream(exchange, rest, prefix)

    def _malformed(self, exchange: Receiver) -> None:
        self.discard()
        exchange.attempt_failed(Cause.MALFORMED)

    def _stream(self, exchange: Receiver, data: bytes, prefix: bytes = b"") -> None:
        if data and not self._feed(data):
            # Where the answer ends is unknown: what follows must not reach the client.
            if prefix:
                exchange.write(prefix)
            self.discard()
            exchange.upstream_ended(clean=False)
            return
        self._last = data
        if self._bodies is not None:
            data = b"".join(self._bodies)
            self._bodies.clear()
        exchange.write(prefix + data if prefix else data)
        if self._complete:
            self._release(exchange)

    def _release(self, exchange: Receiver) -> None:
        self.exchange = None
        if self._bodies is not None:
            self._bodies = self._parser = None
        target = self.target
        if (
            self.keep
            and not target.removed
            and self.address == target.address
            and len(target.idle) < MAX_IDLE
            and not self.transport.is_closing()
        ):
            self.reused = True
            self.idle_since = exchange.router.now
            self.transport.resume_reading()
            target.idle.append(self)
        else:
            self.transport.close()
        exchange.completed()


class _Dechunker:
    """Parser callbacks that also collect the body, without its chunk framing."""

    def __init__(self, owner: Upstream, bodies: list[bytes]) -> None:
        self.on_message_begin = owner.on_message_begin
        self.on_message_complete = owner.on_message_complete
        self.on_body = bodies.append


def take_idle(target: Target, now: float) -> Upstream | None:
    """A kept-alive connection young enough to be trusted, newest first."""
    while target.idle:
        connection = target.idle.pop()
        if now - connection.idle_since <= IDLE_S and connection.address == target.address:
            return connection
        connection.transport.close()
    return None


def close_idle(target: Target, now: float | None = None) -> None:
    """Close connections idle for too long, or all of them (`now` None)."""
    stale = [c for c in target.idle if now is None or now - c.idle_since > IDLE_S]
    for connection in stale:
        target.idle.remove(connection)
        connection.transport.close()
