"""A client's connection: reads requests, answers them one after the other, in order.

A request's body is gathered whole (bounded) before a worker is chosen: the model name lies in it,
and a worker that fails before its first byte can then be replaced.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import httptools

from sglrouter.access.keys import ANYONE, KeyInfo
from sglrouter.wire import replies
from sglrouter.wire.head import BadHeadError, Head, read_head
from sglrouter.wire.memory import KnownRequest
from sglrouter.wire.replies import Failure
from sglrouter.wire.routes import UNKNOWN, Kind, Route, find_route, origin_path

if TYPE_CHECKING:
    from sglrouter.serving.core import Router
    from sglrouter.serving.exchange import Exchange

# Requests sent ahead (pipelining) that are held before reading stops.
MAX_AHEAD, MAX_AHEAD_BYTES = 32, 1024 * 1024
MAX_UPGRADES = 100  # offered in one segment
# After a refusal the connection stays open this long for the client to read it.
LINGER_S = 2.0
# A request that has begun may pause this long between two pieces.
REQUEST_S = 60.0
_TOO_LARGE = "The body has more than {limit} bytes."


@dataclass(slots=True)
class Request:
    """A request read to its end, or the reason why it is refused (`failure`)."""

    id: bytes
    method: bytes
    head: Head | None
    route: Route
    body: bytes
    http10: bool
    close: bool
    key: KeyInfo
    failure: Failure | None


class ClientConnection(asyncio.Protocol):
    def __init__(self, router: Router) -> None:
        self.router = router
        self.exchange: Exchange | None = None
        self.peer = ""
        self.active_at = router.now
        self.partial = False  # a request has begun and is not whole
        self.write_paused = False
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._ahead: deque[Request] = deque()
        self._ahead_bytes = 0
        self._read_paused = False
        self._closing = False  # nothing more is read
        self._kicking = False
        self._replaying = False  # the parser is fed a head that was read already
        self._lines = b""  # of the head llhttp is being fed, to remember it by
        self._last: KnownRequest | None = None  # the head recalled last
        self._missing = 0  # bytes of the recalled head's body to come
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: Head | None = None
        self._body: list[bytes] = []
        self._body_bytes = self._head_bytes = self._fed = 0
        self._failure: Failure | None = None
        self._route = UNKNOWN
        self._key = ANYONE
        self._http10 = False
        self.partial = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if peer else ""
        self.router.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.router.clients.discard(self)
        self._closing = True
        self._parser = None  # it refers back to this object
        self._ahead.clear()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()

    def data_received(self, data: bytes) -> None:
        """Requests with a remembered head are taken by count, all others by llhttp."""
        if self._closing:
            return
        self.active_at = self.router.now
        while data and not self._closing:
            if self._missing:
                data = self._take_body(data)
                continue
            rest = None if self.partial else self._recall(data)
            if rest is None:
                self._parse(data)
                return
            data = rest
        self._fed += len(data)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.pause()

    def resume_writing(self) -> None:
        self.write_paused = False
        self.active_at = self.router.now
        if self.exchange is not None:
            self.exchange.resume()

    # llhttp's side

    def on_message_begin(self) -> None:
        if self._replaying:
            return
        fed = self._fed
        self._reset()
        self._fed = fed
        self.partial = True

    def on_url(self, url: bytes) -> None:
        if self._replaying:
            return
        self._url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._replaying:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self.router.document.limits.max_header_bytes:
            self._refuse_head(Failure(400, "headers_too_large", "The headers are too large."))
        if self._head is None:  # trailers come later and are dropped
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._replaying:
            self._replaying = False
            return
        parser = self._parser
        assert parser is not None
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._refuse_head(Failure(400, "bad_request", f"HTTP/{version} is not served here."))
        self._http10 = version == "1.0"
        try:
            session = self.router.known_requests.session_header
            head = read_head(parser.get_method(), self._url, self._headers, self._http10, session)
        except BadHeadError as error:
            self._refuse_head(error.failure)
            return
        self._head = head
        self._fed = 0
        limit = self.router.document.limits.max_body_bytes
        if head.content_length is not None and head.content_length > limit:
            self._refuse_head(self._too_large())
        self._route = find_route(origin_path(head.target))
        self._failure, self._key = self.router.screen(head, self._route, self.peer)
        if head.expects_continue:
            if self._failure is not None:
                self._refuse_head(self._failure)
            if self.exchange is None and not self._ahead:
                self.transport.write(replies.CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self.router.document.limits.max_body_bytes:
            self._refuse_head(self._too_large())
        if self._failure is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._parser.should_upgrade():  # `_feed` reads the body
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        close = self._http10 or not self._parser.should_keep_alive()
        if self._lines and self._failure is None and not self._http10:
            self._remember(self._lines, close=close)
        self._lines = b""
        self._queue(self._request(body, self._failure, close=close))
        self._closing = self._closing or close
        self._reset()

    # remembered heads

    def _recall(self, data: bytes) -> bytes | None:
        """Take a request whose head is known; returns what follows it, None: llhttp must read."""
        router, known = self.router, self._last
        matched = known.shape.match(data) if known is not None else None
        if known is None or matched is None:
            end = data.find(b"\r\n\r\n") + 4
            found = router.known_requests.find(data[: end - 2]) if end > 4 else None
            if found is None:
                return None
            known, values = found
            self._last = known
        else:
            end, values = matched
        read = known.read(values)
        if (
            read is None
            or known.memory is not router.known_requests
            or known.key_version != router.keys.version
            or end > router.max_header_bytes
            or read[1] > router.max_body_bytes
        ):
            return None
        head, length = read
        after = end + length
        body = data[end:after]
        missing = length - len(body)
        if not missing:
            self._take(known, head, body)
            return data[after:]
        self.partial = True
        self._head, self._missing = head, missing
        self._body, self._body_bytes = [body], len(body)
        return b""

    def _remember(self, lines: bytes, *, close: bool) -> None:
        """Only what needs a key: strangers must not fill the memory."""
        if self._head is not None and self._route.kind is Kind.FORWARD:
            router, key = self.router, self._key
            version = router.keys.version
            router.known_requests.add(lines, self._head, self._route, key, version, close=close)

    def _take_body(self, data: bytes) -> bytes:
        """More of a recalled head's body; returns what follows it."""
        piece = data[: self._missing]
        self._body.append(piece)
        self._body_bytes += len(piece)
        self._missing -= len(piece)
        if not self._missing:
            known, head, body = self._last, self._head, b"".join(self._body)
            assert known is not None
            assert head is not None
            self._reset()
            self._take(known, head, body)
        return data[len(piece) :]

    def _take(self, known: KnownRequest, head: Head, body: bytes) -> None:
        router, close = self.router, known.close
        request_id = head.request_id or router.new_request_id()
        self._closing = close
        request = Request(
            request_id, head.method, head, known.route, body, False, close, known.key, None
        )
        if self.exchange is not None or self._ahead or self.transport.is_closing():
            self._queue(request)
            return
        try:
            router.forward(self, request)
        except Exception:  # else the client would wait for ever, and its place with it
            router.defect(self)

    def _parse(self, data: bytes) -> None:
        if not self.partial:
            end = data.find(b"\r\n\r\n")
            self._lines = data[: end + 2] if end > 0 else b""
        self._fed += len(data)
        try:
            self._feed(data)
        except (httptools.HttpParserError, BadHeadError):
            self._give_up(self._failure or Failure(400, "bad_request", "This is not HTTP/1.1."))
            return
        if self.partial:
            self._check_overhead()

    # internals

    def _feed(self, data: bytes) -> None:
        for _ in range(MAX_UPGRADES):
            try:
                self._parser_in_use().feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._ignore_upgrade()
                data = data[upgrade.args[0] :]
                if not data or self._closing:
                    return
                continue
            return
        self._refuse_head(Failure(400, "bad_request", "Too many upgrades are asked for."))

    def _ignore_upgrade(self) -> None:
        """An Upgrade stops llhttp after the head; ours goes on with the body.

        A new parser is told the framing alone (RFC 9110, section 7.8: a server may ignore it).
        """
        head = self._head
        if head is None:
            raise BadHeadError("the connection cannot be upgraded")
        close = not self._parser_in_use().should_keep_alive()
        self._parser = httptools.HttpRequestParser(self)
        self._replaying = True
        framing = b"transfer-encoding: chunked\r\n" if head.chunked else b""
        if head.content_length is not None:
            framing = b"content-length: %d\r\n" % head.content_length
        if close:
            framing += b"connection: close\r\n"
        self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n")

    def _parser_in_use(self) -> httptools.HttpRequestParser:
        assert self._parser is not None
        return self._parser

    def _check_overhead(self) -> None:
        """Bound what is not body: endless headers, trailers and chunk extensions."""
        limit = self.router.document.limits.max_header_bytes
        if self._fed > limit + 16 * self._body_bytes + (0 if self._head is None else 16):
            failure = Failure(400, "headers_too_large", "The headers are too large.")
            self._give_up(failure)

    def _too_large(self) -> Failure:
        limit = self.router.document.limits.max_body_bytes
        return Failure(413, "request_too_large", _TOO_LARGE.format(limit=limit))

    def _refuse_head(self, failure: Failure) -> None:
        """Called inside the parser: remember why, and make it stop."""
        self._failure = failure
        raise BadHeadError(failure.message)

    def _give_up(self, failure: Failure) -> None:
        """Refuse, after the answers to the requests before, and read no more."""
        if self._closing:
            return
        self._queue(self._request(b"", failure, close=True))
        self._closing = True

    def _request(self, body: bytes, failure: Failure | None, *, close: bool) -> Request:
        head = self._head
        request_id = head.request_id if head is not None else b""
        return Request(
            id=request_id or self.router.new_request_id(),
            method=head.method if head is not None else b"",
            head=head,
            route=self._route,
            body=body,
            http10=self._http10,
            close=close,
            key=self._key,
            failure=failure,
        )

    def _queue(self, request: Request) -> None:
        self._ahead.append(request)
        self._ahead_bytes += len(request.body)
        self._kick()
        ahead = len(self._ahead)
        if ahead > MAX_AHEAD or (ahead and self._ahead_bytes > MAX_AHEAD_BYTES):
            self._read_paused = True
            self.transport.pause_reading()

    def _kick(self) -> None:
        """Start the next request, if none is being answered. Never recurses."""
        if self._kicking:
            return
        self._kicking = True
        while self._ahead and self.exchange is None and not self.transport.is_closing():
            request = self._ahead.popleft()
            self._ahead_bytes -= len(request.body)
            try:
                self.router.serve(self, request)
            except Exception:  # else the client would wait for ever, and its place with it
                self.router.defect(self)
        self._kicking = False
        if self._read_paused and not self._ahead:
            self._read_paused = False
            self.transport.resume_reading()

    def finished(self, *, close: bool, abort: bool = False) -> None:
        """The current answer is written: go on with the next request, or close."""
        self.exchange = None
        self.active_at = self.router.now
        if abort:
            self.transport.abort()
        elif not close:
            self._kick()
        elif self.partial or self._fed:
            self._linger()
        else:
            self._closing = True
            self.transport.close()

    def _linger(self) -> None:
        """Close so that the client can still read what was written (a reset would discard it)."""
        self._closing = True
        self._ahead.clear()
        if not self.transport.is_closing():
            self.transport.write_eof()
            self.router.loop.call_later(LINGER_S, self._reap)

    def _reap(self) -> None:
        if self.transport.get_write_buffer_size() == 0:
            self.transport.abort()
        else:
            self.router.loop.call_later(LINGER_S, self._reap)

    def tick(self, now: float, idle_s: float) -> None:
        """Close when the client lets time pass: idle, in mid-request, or not reading."""
        silent = now - self.active_at
        if self.write_paused:
            if silent > idle_s:
                self.transport.abort()
        elif self.exchange is None and not self._closing:
            if self.partial and silent > REQUEST_S:
                self._give_up(Failure(408, "request_timeout", "The request did not arrive whole."))
            elif not self.partial and silent > idle_s:
                self.transport.close()

    def close_if_idle(self) -> None:
        """The router stops: connections without a request are closed."""
        if self.exchange is None and not self._ahead and not self.partial:
            self._closing = True
            self.transport.close()
