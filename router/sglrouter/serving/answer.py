"""The client's side of an exchange: what it is sent, and how it learns that something broke."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sglrouter.fleet.fleets import Fleet
from sglrouter.inner import Meter
from sglrouter.models import Priority
from sglrouter.wire import replies
from sglrouter.wire.body import RequestView
from sglrouter.wire.replies import Failure
from sglrouter.wire.upstream import Upstream

if TYPE_CHECKING:
    from sglrouter.serving.core import Router
    from sglrouter.wire.client import ClientConnection
    from sglrouter.wire.reader import Request

_EVENT_END = (b"\n\n\r\n", b"\r\n\r\n\r\n")  # and of the chunk it is in


class Answer(Meter):
    """Phases: new → (queued) → connecting → waiting (for the first byte) → streaming → done."""

    # Defaults lie in the class: a request sets what it needs, and most need little.
    # `tier`: where the request is now.
    tier: str
    phase = "new"
    close = event_stream = False
    status = 0
    first_byte_at = 0.0
    _upstream: Upstream | None = None
    _until_close = _close_delimited = False

    def __init__(
        self,
        router: Router,
        client: ClientConnection,
        request: Request,
        fleet: Fleet,
        view: RequestView,
        adapter: str = "",
        priority: Priority = "normal",
    ) -> None:
        """`fleet`: whose model was asked for; metrics go by it. `adapter`: of LoRA, or empty."""
        self.sink = client.transport.write
        self.router = router
        self.client = client
        self.request = request
        self.fleet = fleet
        self.view = view
        self.adapter = adapter
        self.priority: Priority = priority
        self.tier = fleet.name
        self.started = router.clock()
        self.head_only = request.method == b"HEAD"

    def _head(self, connection: Upstream, marks: bytes) -> bytes:
        """The head for the client; `marks` are lines of ours, without the last CRLF."""
        request = self.request
        head = connection.response
        self.phase = "streaming"
        self.status = head.status
        self.first_byte_at = self.router.clock()
        self.close = request.close or self.router.stopping
        self.event_stream = head.event_stream
        dechunked = False
        if head.length is None:
            self._until_close = head.until_close(request.method)
            dechunked = request.http10 and head.chunked
            self._close_delimited = self._until_close or dechunked
            self.close = self.close or self._close_delimited
        if self.client.write_paused:
            self.pause()
        passed = head.dechunked() if dechunked else head.passed
        close = b"\r\nconnection: close\r\n\r\n" if self.close else b"\r\n\r\n"
        out = b"".join((passed, marks, b"\r\nx-request-id: ", request.id, close))
        counted = head.length is not None and not self.head_only and head.status not in (204, 304)
        self.client.answering(len(out) + (head.length or 0) if counted and not self.close else 0)
        return out

    @property
    def meter(self) -> Meter:
        """Itself: whole chunks need no look."""
        return self

    def pause(self) -> None:
        """The client reads slower than the worker writes."""
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume(self) -> None:
        if self._upstream is not None:
            self._upstream.transport.resume_reading()

    @property
    def _at_event_end(self) -> bool:
        """Whether the client has nothing but whole events and whole chunks."""
        upstream = self._upstream
        whole = upstream is not None and upstream.at_chunk_end and self.tail.endswith(_EVENT_END)
        return self.event_stream and whole

    @property
    def _said_all(self) -> bool:
        """Whether the client has the last event of its stream: only the body's end is missing."""
        last = self.tail.rstrip().rpartition(b"\n")[2]
        return self._at_event_end and (last == b"data: [DONE]" or b'"message_stop"' in last)

    def _tell_broken(self, message: str) -> str:
        """End an answer that has begun so that the client knows that it is not whole.

        A stream of events gets an error event, if it stands at the end of one;
        otherwise the connection is closed inside the framing of the body. Returns how it was told.
        """
        if not self._at_event_end:
            return "connection"
        event = replies.stream_error(message)
        self.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))
        return "event"

    def _tell_refused(self, failure: Failure, extra: bytes = b"") -> None:
        """Answer with an error; `extra` are further header lines, each ending in CRLF."""
        self.status = failure.status
        self.close = self.request.close or self.router.stopping
        refusal = replies.refusal(
            failure,
            request_id=self.request.id,
            close=self.close,
            head_only=self.head_only,
            extra=extra,
        )
        self.client.reply(refusal)
