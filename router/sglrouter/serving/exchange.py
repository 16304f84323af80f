"""One request's life after it was read: wait, choose, send, retry, stream, account.

Each phase may end at any moment by the client leaving, the worker failing or the router stopping.
What is counted on a worker goes back in `Attempt._release`, a place in a fleet in `_leave`;
`_finish` does both, so that every counter is zero when nothing runs.
"""

from __future__ import annotations

from sglrouter.fleet.peers import Peer
from sglrouter.fleet.workers import Worker
from sglrouter.serving import outgoing
from sglrouter.serving.accounting import account
from sglrouter.serving.external import ExternalTarget
from sglrouter.serving.placement import Placement
from sglrouter.serving.retry import Cause, Step, final_failure, next_step, says_no
from sglrouter.serving.target import Target
from sglrouter.wire.replies import Failure
from sglrouter.wire.upstream import Upstream

STOPPING = Failure(503, "router_stopping", "The router is stopping.", None, 1)


class Exchange(Placement):
    """One request on its way to a target and back."""

    # what the target answers

    def response_head(self, connection: Upstream, raw: bytes, status: int) -> bytes | None:
        """The head for the client, or None when someone else is asked instead."""
        target = self.target
        if status >= 400 and self._asks_again(target, status):
            connection.discard()
            self.attempt_failed(Cause.STATUS)
            return None
        if isinstance(target, Worker):
            if status < 300 and connection.response.event_stream:
                self._observe_stream(target)
            if self._backlog:
                self._forget_backlog(target)
            if status < 500:
                target.breaker.succeeded()
        elif isinstance(target, Peer) and status < 500:
            self.router.metrics.hop("answered")
        if self._suspect is not None and status < 500:  # another worker did what it could not
            self._blame(self._suspect)
        return self._head(connection, outgoing.marks(self, raw))

    def _asks_again(self, target: Target | None, status: int) -> bool:
        if not isinstance(target, Worker):
            return says_no(status, external=isinstance(target, ExternalTarget))
        if says_no(status):
            return True
        # A worker's 500 may be the request's own fault: one other worker is asked, and if it
        # agrees, that is the answer; if not, the first one was sick.
        if status != 500 or self._suspect is not None or self._half or not self._others_left():
            return False
        self._suspect = target
        return True

    def _others_left(self) -> bool:
        fleet, retries = self.place, self.router.document.limits.max_retries
        if fleet is None or self.retries >= retries or not self.router.budget.has_some():
            return False
        tried = [*self._failed, *([self.worker] if self.worker else [])]
        return bool(fleet.candidates(tried, self.router.now, self.adapter, full_too=True))

    def completed(self) -> None:
        """The whole answer has been passed on."""
        self._upstream = None
        self._finish("complete")
        self.client.finished(close=self.close)

    # what goes wrong before the first byte

    def attempt_failed(self, cause: Cause, culprit: Worker | None = None) -> None:
        """Nothing has reached the client yet: try again, or say so."""
        target, router = culprit or self.target, self.router
        router.metrics.attempt_failed(self.fleet.name, cause.value)
        if cause is Cause.STALE:
            self._again()
        elif isinstance(target, Worker):
            self._next_try(target, cause)
        elif isinstance(target, Peer):
            outgoing.peer_failed(router, target, cause)
            self._release()
            self.tier = self.fleet.name
            self._begin_here()
        else:
            self._release()
            self._enter(final_failure(cause, self.attempts))

    def _next_try(self, worker: Worker, cause: Cause) -> None:
        fleet, router = self.place, self.router
        assert fleet is not None
        if self._suspect is not worker:
            self._blame(worker)
        self._failed = (*self._failed, worker)
        self._release()
        failure = final_failure(cause, self.attempts)
        step = next_step(
            cause,
            retries=self.retries,
            max_retries=router.document.limits.max_retries,
            untried=len(fleet.candidates(self._failed, router.now, self.adapter, full_too=True)),
        )
        if step is Step.NEXT_WORKER and router.budget.take(router.now):
            self.retries += 1
            router.metrics.retried(self.fleet.name, cause.value)
            if self._next_worker():
                return
        self._leave()
        self._enter(failure)

    def _blame(self, worker: Worker) -> None:
        fleet = self.router.workers.fleets.get(worker.fleet)
        if fleet is not None and fleet.failed(worker, self.router.now):
            self.router.breaker_opened(worker)

    def expired(self) -> None:
        """The first byte took too long; without prefill's there can be none of decode's."""
        half = self._half
        culprit = half.worker if half is not None and not half.answered else None
        self.attempt_failed(Cause.FIRST_BYTE, culprit)

    # what goes wrong later

    def upstream_ended(self, *, clean: bool) -> None:
        """The target's connection ended in mid-answer."""
        if self._until_close and clean:
            self.completed()
            return
        if self.worker is not None:
            self._blame(self.worker)
        self._truncate("The worker failed in mid-stream.", "truncated")

    def cut(self) -> None:
        """The router stops and its deadline has passed."""
        if self.phase == "streaming":
            self._truncate("The router is stopping.", "cut")
        else:
            self._refuse(STOPPING)

    def client_gone(self) -> None:
        """Nobody waits for the answer any more: stop the worker's work at once."""
        self.router.metrics.disconnected(self.fleet.name, self.phase)
        self._finish("client_gone")

    def _truncate(self, message: str, outcome: str) -> None:
        if self._said_all:  # an error behind the last event would be a lie
            self.write(b"0\r\n\r\n")
            self._finish("complete")
            self.client.finished(close=self.close or self.router.stopping)
            return
        told_by = self._tell_broken(message)
        self.router.metrics.truncated(self.fleet.name, told_by)
        self._finish(outcome)
        # Told by an event, the body is whole in its framing: the next request may be on its way
        # already, and would be lost with the connection.
        close = told_by == "connection" or self.close or self.router.stopping
        self.client.finished(close=close, abort=self._close_delimited)

    def _refuse(self, failure: Failure) -> None:
        extra = b"x-sglctl-queue-position: %d\r\n" % self.position if self.position else b""
        self._tell_refused(failure, extra if failure.status == 429 else b"")
        self._finish(failure.code)
        self.client.finished(close=self.close)

    # accounting

    def _finish(self, outcome: str) -> None:
        router, worker = self.router, self.target.name if self.target else b""
        if self.waits_for is not None:
            self._stop_waiting()
        router.exchanges.discard(self)
        self.phase = "done"
        self._release()
        self._leave()
        account(router, self, outcome, worker)
