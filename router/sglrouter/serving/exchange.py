"""One request's life after it was read: wait, choose, send, retry, stream, account.

Each phase may end at any moment by the client leaving, the worker failing or the router stopping.
What is counted on a worker goes back in `_release`, a place in a fleet in `_leave`; `_finish`
does both, so that every counter is zero when nothing runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sglrouter.fleet.fleets import Fleet
from sglrouter.fleet.peers import Peer
from sglrouter.fleet.workers import Worker
from sglrouter.models import Priority
from sglrouter.serving import outgoing, pairs
from sglrouter.serving.answer import Answer
from sglrouter.serving.connect import connect
from sglrouter.serving.external import ExternalTarget
from sglrouter.serving.retry import Cause, Step, final_failure, next_step, says_no
from sglrouter.serving.target import Target
from sglrouter.serving.tiers import Stop
from sglrouter.wire.body import RequestView
from sglrouter.wire.replies import Failure
from sglrouter.wire.upstream import Upstream, take_idle

if TYPE_CHECKING:
    from sglrouter.serving.core import Router
    from sglrouter.wire.client import ClientConnection, Request

NO_WORKER = Failure(503, "no_ready_worker", "No worker is ready; try again.", retry_after_s=2)
STOPPING = Failure(503, "router_stopping", "The router is stopping.", None, 1)
QUEUE_FULL = Failure(429, "queue_full", "Every worker is busy, and the queue is full.", None, 1)
QUEUE_TIMEOUT = Failure(429, "queue_timeout", "No worker became free in time.", None, 1)


class Exchange(Answer):
    """One request on its way to a target and back."""

    __slots__ = (
        "_backlog",
        "_failed",
        "_first_byte_s",
        "_half",
        "_paired_body",
        "_probing",
        "_stop",
        "_suspect",
        "adapter",
        "admitted",
        "attempts",
        "cached_tokens",
        "connecting",
        "deadline",
        "fleet",
        "place",
        "position",
        "priority",
        "queued_at",
        "retries",
        "target",
        "tier",
        "view",
        "waits_for",
    )

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
        super().__init__(router, client, request)
        self.fleet = fleet  # whose model was asked for; metrics go by it
        self.view = view
        self.adapter = adapter
        self.priority: Priority = priority
        self.tier = fleet.name
        self.target: Target | None = None
        self.place: Fleet | None = None  # where this request counts as in flight
        self.waits_for: Fleet | None = None  # in whose queue it stands
        self.queued_at = self.deadline = self._first_byte_s = 0.0
        self.position = self.retries = self.attempts = 0
        self.cached_tokens = self._backlog = self._stop = 0
        self.admitted = self._probing = False
        self.connecting: asyncio.Task[None] | None = None
        self._half: pairs.PrefillHalf | None = None
        self._paired_body = b""
        self._failed: list[Worker] = []
        self._suspect: Worker | None = None

    @property
    def worker(self) -> Worker | None:
        """The worker that answers, or is to."""
        return self.target if isinstance(self.target, Worker) else None

    # where to

    def start(self) -> None:
        """Serve the request here."""
        self.router.exchanges.add(self)
        self._begin_here()

    def hand_over(self, peer: Peer) -> None:
        """Let the router answer that owns the conversation."""
        self.router.exchanges.add(self)
        self.tier = "peer"
        self._first_byte_s = outgoing.peer_timeout_s(self.fleet)
        self._aim(peer)
        self._send(take_idle(peer, self.router.now))

    def _begin_here(self) -> None:
        router = self.router
        failure = router.admit(self)
        if failure is not None:
            self._refuse(failure)
            return
        self.admitted = True
        router.budget.deposit()
        self._enter(NO_WORKER)

    def _enter(self, failure: Failure) -> None:
        """Go to the next tier that can be asked; without one the client is told `failure`."""
        stops = self.fleet.stops
        while self._stop < len(stops):
            stop = stops[self._stop]
            self._stop += 1
            self._first_byte_s = stop.first_byte_s
            if self._ask_external(stop) if stop.external else self._ask_fleet(stop):
                if self._stop > 1:
                    self.router.metrics.tier_used(self.fleet.name, stop.name)
                return
        self._refuse(failure)

    def _ask_external(self, stop: Stop) -> bool:
        router = self.router
        target = router.externals.get(stop.name)
        known = target is not None and stop.name in router.external_keys
        if target is None or not known or self.request.method != b"POST":
            return False
        if not target.serves(self.request.route.label, self.view.model):
            return False
        self.tier = stop.name
        self._aim(target)
        self._send(take_idle(target, router.now))
        return True

    def _ask_fleet(self, stop: Stop) -> bool:
        fleet = self.router.workers.fleets.get(stop.name)
        if fleet is None or not fleet.serves(self.adapter):
            return False
        self.tier = stop.name
        if fleet.queue or not fleet.has_room(self.router.now, self.adapter):
            return self._wait_for(fleet)
        return self._take_place(fleet)

    def _take_place(self, fleet: Fleet) -> bool:
        fleet.in_flight += 1
        self.place = fleet
        if self._next_worker():
            return True
        self._leave()
        return False

    # waiting for a worker

    def _wait_for(self, fleet: Fleet) -> bool:
        now = self.router.clock()
        self.position = fleet.queue.position(self.priority)
        if not fleet.queue.offer(self, self.priority, now):
            if 1 < self._stop < len(self.fleet.stops):  # a full fallback is no reason to give up
                return False
            self._refuse(QUEUE_FULL)
            return True
        self.phase = "queued"
        self.waits_for, self.queued_at = fleet, now
        return True

    def _stop_waiting(self) -> None:
        fleet, self.waits_for = self.waits_for, None
        if fleet is not None:
            fleet.queue.remove(self, self.priority)
            waited = self.router.clock() - self.queued_at
            self.router.metrics.queued(fleet.name, waited)

    def proceed(self) -> None:
        """There is room in the fleet it waits for."""
        fleet = self.waits_for
        assert fleet is not None
        self._stop_waiting()
        if not self._take_place(fleet):
            self._enter(NO_WORKER)

    def waited_too_long(self) -> None:
        """A fleet that is full says 429; one that lost all its workers has failed."""
        fleet = self.waits_for
        assert fleet is not None
        self._stop_waiting()
        if fleet.serves(self.adapter):
            self._refuse(QUEUE_TIMEOUT)
        else:
            self._enter(NO_WORKER)

    # choosing and sending

    def _next_worker(self) -> bool:
        """Send to a worker of the fleet whose place is held; False: none is left to ask."""
        fleet, router = self.place, self.router
        assert fleet is not None
        workers = fleet.candidates(
            self._failed, router.now, self.adapter, full_too=bool(self._failed)
        )
        if fleet.paired and pairs.takes(self.request.route.label, self.view):
            return self._next_pair(fleet, workers)
        if not workers:
            return False
        choice = router.policies[fleet.name].choose(self.view, workers)
        worker = choice.worker
        self.cached_tokens, self._backlog = choice.cached_tokens, choice.new_tokens
        worker.backlog += choice.new_tokens
        router.metrics.chosen(fleet.name, choice.reason)
        self._aim_at_worker(fleet, worker)
        self._send(take_idle(worker, router.now))
        return True

    def _next_pair(self, fleet: Fleet, workers: Sequence[Worker]) -> bool:
        """Prefill where the prefix is, decode where there is least to do."""
        router = self.router
        pair = pairs.choose(router.policies[fleet.name], self.view, workers)
        if pair is None:
            return False
        choice, decode = pair
        self.cached_tokens = choice.cached_tokens
        choice.worker.last_chosen = next(router.choices)
        router.metrics.chosen(fleet.name, choice.reason)
        self._aim_at_worker(fleet, decode)
        self._half = pairs.PrefillHalf(self, choice.worker, choice.new_tokens)
        self._send_pair(fresh=False)
        return True

    def _aim(self, target: Target) -> None:
        self.target = target
        target.in_flight += 1

    def _aim_at_worker(self, fleet: Fleet, worker: Worker) -> None:
        worker.last_chosen = next(self.router.choices)
        if fleet.sick:
            self._probing = worker.breaker.sent(self.router.now)
        self._aim(worker)

    def _send_pair(self, *, fresh: bool) -> None:
        half, decode = self._half, self.target
        assert half is not None
        assert decode is not None
        self._paired_body = pairs.body_of(self.view, half.worker)
        self._send(None if fresh else take_idle(decode, self.router.now))
        half.send(fresh=fresh)

    def _send(self, connection: Upstream | None) -> None:
        self.attempts += 1
        self.deadline = self.router.clock() + self._first_byte_s
        if connection is None:
            self.phase = "connecting"
            self.connecting = self.router.loop.create_task(self._connect())
            return
        self._begin(connection)

    async def _connect(self) -> None:
        target = self.target
        assert target is not None
        try:
            connection = await connect(target, self.router.document.limits.connect_timeout_s)
        except OSError:
            self.connecting = None
            self.attempt_failed(Cause.CONNECT)
            return
        self.connecting = None
        self._begin(connection)

    def _begin(self, connection: Upstream) -> None:
        target = self.target
        assert target is not None
        self.phase = "waiting"
        self._upstream = connection
        head, body = self.payload(target)
        connection.begin(self, head, body, dechunk=self.request.http10)

    def payload(self, target: Target) -> tuple[bytes, bytes]:
        """Head and body for a target: the client's own bytes for a worker."""
        request = self.request
        assert request.head is not None
        if isinstance(target, Worker):
            body = self._paired_body or request.body
            return request.head.for_worker(target.host_header, len(body), request.id), body
        return outgoing.payload(self, target)

    # what the target answers

    def response_head(self, connection: Upstream, raw: bytes, status: int) -> bytes | None:
        """The head for the client, or None when someone else is asked instead."""
        target = self.target
        if status >= 400 and self._asks_again(target, status):
            connection.discard()
            self.attempt_failed(Cause.STATUS)
            return None
        if self._suspect is not None:  # another worker did what it could not
            self._blame(self._suspect)
            self._suspect = None
        if isinstance(target, Worker):
            self._forget_backlog(target)
            target.breaker.succeeded()
            self._probing = False
        return self._head(raw, status, outgoing.marks(self, raw))

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

    def answered_by_prefill(self, connection: Upstream, raw: bytes, status: int) -> bytes:
        """The prefill worker refused the request: its answer is the client's."""
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        if self._upstream is not None:
            self._upstream.discard()
        self._upstream = connection
        return self._head(raw, status, outgoing.marks(self, raw))

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

    def _again(self) -> None:
        """A kept-alive connection was stale: the same target on a fresh one."""
        self._drop_upstream()
        if self._half is None:
            self._send(None)
            return
        self._half.restart()
        self._send_pair(fresh=True)

    def _next_try(self, worker: Worker, cause: Cause) -> None:
        fleet, router = self.place, self.router
        assert fleet is not None
        if self._suspect is not worker:
            self._blame(worker)
        self._failed.append(worker)
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

    def overdue(self, now: float) -> bool:
        """Whether its first byte should be there; a router that died sends none, nor an end."""
        if self.phase not in ("connecting", "waiting"):
            return False
        target = self.target
        return self.deadline < now or (isinstance(target, Peer) and not target.usable)

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
        told_by = self._tell_broken(message)
        self.router.metrics.truncated(self.fleet.name, told_by)
        self._finish(outcome)
        self.client.finished(close=True, abort=self._close_delimited)

    def _refuse(self, failure: Failure) -> None:
        extra = b"x-sglctl-queue-position: %d\r\n" % self.position if self.position else b""
        self._tell_refused(failure, extra if failure.status == 429 else b"")
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

    def _forget_backlog(self, worker: Worker) -> None:
        worker.backlog -= self._backlog
        self._backlog = 0

    def _release(self) -> None:
        """Close what is open to the target and take back what was counted on it."""
        self._drop_upstream()
        if self._half is not None:
            self._half.release()
            self._half, self._paired_body = None, b""
        target, self.target = self.target, None
        if target is None:
            return
        target.in_flight -= 1
        if isinstance(target, Worker):
            self._forget_backlog(target)
            if self._probing:
                self._probing = False
                target.breaker.abandoned()

    def _leave(self) -> None:
        """Give back the place in the fleet, to whoever waits for it."""
        fleet, self.place = self.place, None
        if fleet is not None:
            fleet.in_flight -= 1
            if fleet.queue:
                self.router.pump(fleet)

    def _finish(self, outcome: str) -> None:
        router, worker = self.router, self.target.name.decode() if self.target else ""
        self._stop_waiting()
        router.exchanges.discard(self)
        self.phase = "done"
        self._release()
        self._leave()
        router.account(self, outcome, worker)
