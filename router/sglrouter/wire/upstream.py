"""A connection to a target: sends one request at a time, passes the answer on as it arrives.

Per token: one look at the chunk's size, one write of the same bytes. See `framing`.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

import httptools

from sglrouter.inner import Relay
from sglrouter.serving.retry import Cause
from sglrouter.wire.framing import Broken, Framing, framing_of
from sglrouter.wire.head import BadHeadError, ResponseHead, read_response_head
from sglrouter.wire.memory import ResponseMemory

if TYPE_CHECKING:
    from sglrouter.serving.target import Receiver, Target

MAX_RESPONSE_HEAD = 64 * 1024
# uvicorn, which serves SGLang and vLLM, closes idle connections after 5 s; be first.
IDLE_S = 4.0
MAX_IDLE = 512
# Above this, head and body go to the kernel as they are; below, copying is cheaper.
JOIN_BYTES = 16 * 1024
# A worker whose host vanished sends nothing, not even a reset: give up after 25 s.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class Upstream(Relay, asyncio.Protocol):
    """States: idle (no exchange), head (no `framing` yet), streaming.

    `response`: the head being answered, while `exchange.response_head` looks at it.
    """

    response: ResponseHead

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
        self.address = target.address
        self.exchange: Receiver | None = None
        self._transport: asyncio.Transport | None = None
        self.reused = False
        self.idle_since = 0.0
        self._known = ResponseMemory()
        self._keep = False
        self._head = b""
        self._framing: Framing | None = None
        self._dechunk = False

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

    def received(self, data: bytes) -> None:
        exchange, framing = self.exchange, self._framing
        if exchange is None:  # a worker that speaks unasked cannot be trusted with a request
            self.discard()
        elif framing is None:
            self._read_head(exchange, data)
        else:
            try:
                data = framing.feed(data)
            except Broken:
                self._broken(exchange)
                return
            exchange.write(data)
            self._fed(exchange, framing)

    def _fed(self, exchange: Receiver, framing: Framing) -> None:
        if framing.complete:
            self._release(exchange)
        else:
            self.fast = exchange.meter if framing.boundary else None

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self.exchange, self.fast = self.exchange, None, None
        if exchange is None:
            if self in self.target.idle:
                self.target.idle.remove(self)
        elif self._framing is None:
            untouched = not self._head
            exchange.attempt_failed(Cause.STALE if self.reused and untouched else Cause.RESET)
        else:
            exchange.upstream_ended(clean=exc is None)

    # the exchange's side

    def begin(self, exchange: Receiver, head: bytes, body: bytes, *, dechunk: bool) -> None:
        """Send a request; `dechunk` unwraps a chunked answer for an HTTP/1.0 client."""
        self.exchange = exchange
        self._head = b""
        self._framing = None
        self._dechunk = dechunk
        transport = self._transport
        assert transport is not None
        if len(body) > JOIN_BYTES:
            transport.writelines([head, body])
        else:
            transport.write(head + body)

    def discard(self) -> None:
        """Close at once; the exchange, if any, hears nothing more of it."""
        self.exchange = self.fast = None
        if self._transport is not None:
            self._transport.abort()

    @property
    def at_chunk_end(self) -> bool:
        """Whether what was passed on so far ends after a whole chunk."""
        return self._framing is not None and self._framing.boundary

    # internals

    def _read_head(self, exchange: Receiver, data: bytes) -> None:
        self._head = data = self._head + data if self._head else data
        try:
            while (found := self._known.find(data) or self._judge(data)) is not None:
                head, end = found
                if head.status >= 200:
                    self._answer(exchange, data[: end - 4], head, data[end:])
                    return
                self._head = data = data[end:]  # an interim response is not for the client
            whole = len(data) <= MAX_RESPONSE_HEAD
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, BadHeadError):
            whole = False
        if not whole:
            self.discard()
            exchange.attempt_failed(Cause.MALFORMED)

    def _judge(self, data: bytes) -> tuple[ResponseHead, int] | None:
        """The head that `data` begins with and where it ends; None: it is not whole."""
        end = data.find(b"\r\n\r\n")
        if not 0 <= end <= MAX_RESPONSE_HEAD:
            return None
        parser, raw = httptools.HttpResponseParser(None), data[:end]
        parser.feed_data(raw + b"\r\n\r")
        keep = parser.should_keep_alive()  # forgotten behind an answer without a body
        parser.feed_data(b"\n")
        head = read_response_head(raw, parser.get_status_code(), keep=keep)
        self._known.add(raw, head)
        return head, end + 4

    def _answer(self, exchange: Receiver, raw: bytes, head: ResponseHead, rest: bytes) -> None:
        self.response = head
        prefix = exchange.response_head(self, raw, head.status)
        if prefix is None:  # another worker was asked instead
            return
        self._keep = head.keep
        if rest and head.length == len(rest) and not exchange.head_only and head.status < 204:
            exchange.write(prefix + rest)  # the usual short answer, all of it
            self._release(exchange)
            return
        if exchange.head_only and rest:
            self._keep, rest = False, b""
        self._framing = framing = framing_of(head, exchange.head_only, self._dechunk)
        try:
            exchange.write(prefix + framing.feed(rest) if rest else prefix)
        except Broken:
            exchange.write(prefix)
            self._broken(exchange)
            return
        self._fed(exchange, framing)

    def _broken(self, exchange: Receiver) -> None:
        """Where the answer ends is unknown: what follows must not reach the client."""
        self.discard()
        exchange.upstream_ended(clean=False)

    def _release(self, exchange: Receiver) -> None:
        self.exchange = self.fast = None
        target, transport = self.target, self._transport
        assert transport is not None
        if (
            self._keep
            and not target.removed
            and self.address is target.address
            and len(target.idle) < MAX_IDLE
            and not transport.is_closing()
        ):
            self.reused = True
            self.idle_since = exchange.router.now
            transport.resume_reading()
            target.idle.append(self)
        else:
            transport.close()
        exchange.completed()


def take_idle(target: Target, now: float) -> Upstream | None:
    """A kept-alive connection young enough to be trusted, newest first."""
    while target.idle:
        connection = target.idle.pop()
        if now - connection.idle_since <= IDLE_S and connection.address is target.address:
            return connection
        connection.transport.close()
    return None


def close_idle(target: Target, now: float | None = None) -> None:
    """Close connections idle for too long, or all of them (`now` None)."""
    stale = [c for c in target.idle if now is None or now - c.idle_since > IDLE_S]
    for connection in stale:
        target.idle.remove(connection)
        connection.transport.close()
