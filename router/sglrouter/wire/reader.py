"""Reads a client's requests: those with a remembered head by count, all others by llhttp.

A request's body is gathered whole (bounded) before a worker is chosen: the model name lies in it,
and a worker that fails before its first byte can then be replaced.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httptools

from sglrouter.access.keys import ANYONE, KeyInfo
from sglrouter.wire import replies
from sglrouter.wire.head import BadHeadError, Head, read_head
from sglrouter.wire.memory import KnownRequest
from sglrouter.wire.replies import Failure
from sglrouter.wire.routes import UNKNOWN, Kind, Route, find_route, origin_path

if TYPE_CHECKING:
    from sglrouter.serving.core import Router

MAX_UPGRADES = 100  # offered in one segment
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


class RequestReader(asyncio.Protocol):
    """Turns bytes into requests, in order, for `_queue` and `_forward`."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.active_at = router.now
        self.peer = ""
        self.partial = False  # a request has begun and is not whole
        self.transport: asyncio.Transport
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._closing = False  # nothing more is read
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

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether earlier requests are not answered yet."""

    @abstractmethod
    def _queue(self, request: Request) -> None:
        """A request to be answered after those before it."""

    @abstractmethod
    def _forward(self, request: Request) -> None:
        """The same, of one that a worker answers and nothing is wrong with."""

    def answering(self, whole: int = 0) -> None:
        """The first byte of an answer is about to be written; `whole`: how many it has, if the
        connection is kept after so many."""

    def reply(self, data: bytes) -> None:
        """Send an answer of the router's own."""
        self.answering()
        self.write(data)

    def write(self, data: bytes) -> None:
        """Send what no worker has said."""
        self.transport.write(data)

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
            if not self.busy:
                self.write(replies.CONTINUE)

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
        read = known.read(data) if known is not None else None
        if known is None or read is None:
            known = router.known_requests.find(data)
            read = known.read(data) if known is not None else None
            if known is None or read is None:
                return None
            self._last = known
        head, end, length = read
        if (
            known.memory is not router.known_requests
            or known.key_version != router.keys.version
            or end > router.max_header_bytes
            or length > router.max_body_bytes
        ):
            return None
        after = end + length
        body = data[end:after]
        missing = length - len(body)
        if not missing:
            self._take(known, head, body)
            return data[after:]
        self.partial = True
        self._head, self._route, self._key = head, known.route, known.key
        self._missing = missing
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
        close = self._closing = known.close
        request_id = head.request_id or self.router.new_request_id()
        self._forward(
            Request(request_id, head.method, head, known.route, body, False, close, known.key, None)
        )

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
