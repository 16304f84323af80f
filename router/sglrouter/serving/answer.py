"""The client's side of an exchange: what it is sent, and how it learns that something broke."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sglrouter.serving.usage import TAIL_BYTES
from sglrouter.wire import replies
from sglrouter.wire.replies import Failure
from sglrouter.wire.upstream import Upstream

if TYPE_CHECKING:
    from sglrouter.serving.core import Router
    from sglrouter.wire.client import ClientConnection, Request

# The last pieces hold the usage even when `[DONE]` and the end come in pieces of their own.
TAIL_PIECES = 4


class Answer:
    """Phases: new → (queued) → connecting → waiting (for the first byte) → streaming → done."""

    __slots__ = (
        "_close_delimited",
        "_tail",
        "_until_close",
        "_upstream",
        "client",
        "close",
        "event_stream",
        "events",
        "first_byte_at",
        "head_only",
        "phase",
        "request",
        "router",
        "sent",
        "started",
        "status",
    )

    def __init__(self, router: Router, client: ClientConnection, request: Request) -> None:
        self.router = router
        self.client = client
        self.request = request
        self.head_only = request.method == b"HEAD"
        self.started = router.clock()
        self.phase = "new"
        self.close = False
        self.status = self.sent = self.events = 0
        self.first_byte_at = 0.0
        self.event_stream = False
        self._upstream: Upstream | None = None
        self._until_close = self._close_delimited = False
        self._tail: deque[bytes] = deque(maxlen=TAIL_PIECES)

    def _head(self, connection: Upstream, marks: bytes) -> bytes:
        """The head for the client; `marks` are lines of ours, without the last CRLF."""
        request = self.request
        head = connection.response
        self.phase = "streaming"
        self.status = head.status
        self.first_byte_at = self.router.clock()
        self.event_stream = head.event_stream
        self._until_close = head.until_close(request.method)
        dechunked = request.http10 and head.chunked
        self._close_delimited = self._until_close or dechunked
        self.close = request.close or self._close_delimited or self.router.stopping
        if self.client.write_paused:
            self.pause()
        marks += b"\r\nx-request-id: " + request.id + b"\r\n"
        if self.close:
            marks += b"connection: close\r\n"
        return head.for_client(marks, dechunked=dechunked)

    def write(self, data: bytes) -> None:
        """Pass bytes on to the client."""
        self.sent += len(data)
        self.events += 1
        self._tail.append(data)
        self.client.transport.write(data)

    @property
    def tail(self) -> bytes:
        """The end of what was passed on."""
        return b"".join(self._tail)[-TAIL_BYTES:]

    def pause(self) -> None:
        """The client reads slower than the worker writes."""
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume(self) -> None:
        if self._upstream is not None:
            self._upstream.transport.resume_reading()

    def _tell_broken(self, message: str) -> str:
        """End an answer that has begun so that the client knows that it is not whole.

        A stream of events gets an error event, if it stands at the end of one;
        otherwise the connection is closed inside the framing of the body. Returns how it was told.
        """
        upstream = self._upstream
        if not (self.event_stream and upstream is not None and upstream.at_event_end()):
            return "connection"
        event = replies.stream_error(message)
        self.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))
        return "event"

    def _tell_refused(self, failure: Failure, extra: bytes = b"") -> None:
        """Answer with an error; `extra` are further header lines, each ending in CRLF."""
        self.status = failure.status
        self.close = self.request.close or self.router.stopping
        self.client.transport.write(
            replies.refusal(
                failure,
                request_id=self.request.id,
                close=self.close,
                head_only=self.head_only,
                extra=extra,
            )
        )
