"""One request's life after it was read: choose, send, retry, stream, account.

Phases: new → connecting → waiting (for the first byte) → streaming → done.
Each phase may end at any moment by the client leaving, the worker failing or the router stopping;
`_release` is the one place where the counters of worker and fleet go back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sglrouter.fleet.workers import Fleet, Worker
from sglrouter.serving.retry import RETRIED_STATUS, Cause, Step, final_failure, next_step
from sglrouter.wire import replies
from sglrouter.wire.body import RequestView
from sglrouter.wire.head import read_response_head
from sglrouter.wire.replies import Failure
from sglrouter.wire.upstream import Upstream, take_idle

if TYPE_CHECKING:
    from sglrouter.serving.core import Router
    from sglrouter.wire.client import ClientConnection, Request

NO_WORKER = Failure(503, "no_ready_worker", "No worker is ready; try again.", retry_after_s=2)
FULL = Failure(429, "fleet_full", "The fleet serves as many requests as it may.", retry_after_s=1)


class Exchange:
    """One request on its way to a worker and back."""

    __slots__ = (
        "_close_delimited",
        "_tried",
        "_until_close",
        "_upstream",
        "attempts",
        "client",
        "close",
        "connecting",
        "deadline",
        "event_stream",
        "first_byte_at",
        "fleet",
        "head_only",
        "phase",
        "request",
        "retries",
        "router",
        "sent",
        "started",
        "status",
        "view",
        "worker",
    )

    def __init__(
        self,
        router: Router,
        client: ClientConnection,
        request: Request,
        fleet: Fleet,
        view: RequestView,
    ) -> None:
        self.router = router
        self.client = client
        self.request = request
        self.fleet = fleet
        self.view = view
        self.head_only = request.method == b"HEAD"
        self.started = router.clock()
        self.phase = "new"
        self.worker: Worker | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.retries = self.attempts = 0
        self.close = False
        self.deadline = 0.0
        self.status = self.sent = 0
        self.first_byte_at = 0.0
        self.event_stream = False
        self._upstream: Upstream | None = None
        self._until_close = self._close_delimited = False
        self._tried: list[Worker] = []

    # choosing and sending

    def start(self) -> None:
        limit = self.fleet.route.max_in_flight
        if limit is not None and self.fleet.in_flight >= limit:
            self._refuse(FULL)
            return
        self.fleet.in_flight += 1
        self.router.exchanges.add(self)
        self.router.budget.deposit()
        self._next_worker(NO_WORKER)

    def _next_worker(self, otherwise: Failure) -> None:
        candidates = self.fleet.candidates(self._tried, self.router.now)
        if not candidates:
            self._refuse(otherwise)
            return
        worker = self.router.policy.choose(self.view, candidates).worker
        worker.last_chosen = next(self.router.choices)
        worker.in_flight += 1
        self.worker = worker
        self._tried.append(worker)
        self._send(take_idle(worker, self.router.now))

    def _send(self, connection: Upstream | None) -> None:
        self.attempts += 1
        self.deadline = self.router.clock() + self.fleet.route.first_byte_s
        if connection is None:
            self.phase = "connecting"
            self.connecting = self.router.loop.create_task(self._connect())
            return
        self._begin(connection)

    async def _connect(self) -> None:
        worker = self.worker
        assert worker is not None
        engine = worker.engine
        connection = Upstream(worker)
        try:
            async with asyncio.timeout(self.router.document.limits.connect_timeout_s):
                await self.router.loop.create_connection(
                    lambda: connection, engine.host, engine.port
                )
        except OSError:  # TimeoutError is one
            self.connecting = None
            self.attempt_failed(Cause.CONNECT)
            return
        except asyncio.CancelledError:  # the client left in the moment the connection stood
            connection.discard()
            raise
        self.connecting = None
        self._begin(connection)

    def _begin(self, connection: Upstream) -> None:
        worker, request = self.worker, self.request
        assert worker is not None
        assert request.head is not None
        self.phase = "waiting"
        self._upstream = connection
        head = request.head.for_worker(worker.host_header, len(request.body), request.id)
        connection.begin(self, head, request.body, dechunk=request.http10)

    # what the worker answers

    def response_head(self, connection: Upstream, raw: bytes, status: int) -> bytes | None:
        """The head for the client, or None when another worker is asked instead."""
        if status in RETRIED_STATUS:
            connection.discard()
            self.attempt_failed(Cause.STATUS)
            return None
        request, worker = self.request, self.worker
        assert worker is not None
        head = read_response_head(raw, status)
        self.phase = "streaming"
        self.status = status
        self.first_byte_at = self.router.clock()
        self.event_stream = head.event_stream
        self._until_close = head.until_close(request.method)
        dechunked = request.http10 and head.chunked
        self._close_delimited = self._until_close or dechunked
        self.close = request.close or self._close_delimited or self.router.stopping
        if worker.penalty_until:
            worker.forgive()
        if self.client.write_paused:
            self.pause()
        lines = head.lines
        if dechunked:
            lines = [x for x in lines if not x.lower().startswith(b"transfer-encoding:")]
        lines.append(b"x-sglctl-worker: " + worker.name)
        lines.append(b"x-request-id: " + request.id)
        if self.close:
            lines.append(b"connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def write(self, data: bytes) -> None:
        """Pass bytes on to the client."""
        self.sent += len(data)
        self.client.transport.write(data)

    def completed(self) -> None:
        """The whole answer has been passed on."""
        self._upstream = None
        self._finish("complete")
        self.client.finished(close=self.close)

    def pause(self) -> None:
        """The client reads slower than the worker writes."""
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume(self) -> None:
        if self._upstream is not None:
            self._upstream.transport.resume_reading()

    # what goes wrong

    def attempt_failed(self, cause: Cause) -> None:
        """Nothing has reached the client yet: try again, or say so."""
        worker, self._upstream = self.worker, None
        assert worker is not None
        router = self.router
        router.metrics.attempt_failed(self.fleet.name, cause.value)
        left = self.fleet.candidates(self._tried, router.now)
        step = next_step(
            cause,
            retries=self.retries,
            max_retries=router.document.limits.max_retries,
            untried=len(left),
        )
        if step is Step.SAME_WORKER:
            self._send(None)
            return
        worker.penalise(router.now)
        self.fleet.penalised = True
        if step is Step.GIVE_UP or not router.budget.take(router.now):
            self._refuse(final_failure(cause, self.attempts))
            return
        self.retries += 1
        router.metrics.retried(self.fleet.name, cause.value)
        self._uncount_worker()
        self._next_worker(final_failure(cause, self.attempts))

    def expired(self) -> None:
        """The worker took too long to send its first byte."""
        self._drop_upstream()
        self.attempt_failed(Cause.FIRST_BYTE)

    def upstream_ended(self, *, clean: bool) -> None:
        """The worker's connection ended in mid-answer."""
        if self._until_close and clean:
            self.completed()
            return
        if self.worker is not None:
            self.worker.penalise(self.router.now)
            self.fleet.penalised = True
        self._truncate("The worker failed in mid-stream.", "truncated")

    def cut(self) -> None:
        """The router stops and its deadline has passed."""
        if self.phase == "streaming":
            self._truncate("The router is stopping.", "cut")
        else:
            self._drop_upstream()
            self._refuse(Failure(503, "router_stopping", "The router is stopping.", None, 1))

    def client_gone(self) -> None:
        """Nobody waits for the answer any more: stop the worker's work at once."""
        self.router.metrics.disconnected(self.fleet.name, self.phase)
        self._drop_upstream()
        self._finish("client_gone")

    def _truncate(self, message: str, outcome: str) -> None:
        """End an answer that has begun so that the client knows that it is not whole.

        A stream of events gets an error event, if it stands at the end of one;
        otherwise the connection is closed inside the framing of the body.
        """
        upstream = self._upstream
        told = self.event_stream and upstream is not None and upstream.at_event_end()
        if told:
            event = replies.stream_error(message)
            self.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))
        self._drop_upstream()
        self.router.metrics.truncated(self.fleet.name, "event" if told else "connection")
        self._finish(outcome)
        self.client.finished(close=True, abort=self._close_delimited)

    def _refuse(self, failure: Failure) -> None:
        self.status = failure.status
        self.close = self.request.close or self.router.stopping
        self.client.transport.write(
            replies.refusal(
                failure, request_id=self.request.id, close=self.close, head_only=self.head_only
            )
        )
        self._finish(failure.code)
        self.client.finished(close=self.close)

    # accounting

    def _drop_upstream(self) -> None:
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        if self._upstream is not None:
            self._upstream.discard()
            self._upstream = None

    def _uncount_worker(self) -> None:
        if self.worker is not None:
            self.worker.in_flight -= 1
            self.worker = None

    def _finish(self, outcome: str) -> None:
        router = self.router
        worker = self.worker.id if self.worker is not None else ""
        self._uncount_worker()
        if self in router.exchanges:
            router.exchanges.discard(self)
            self.fleet.in_flight -= 1
        self.phase = "done"
        router.account(self, outcome, worker)
