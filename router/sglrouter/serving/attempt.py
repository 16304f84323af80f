"""The target's side of an exchange: one request on one target, or on a prefill/decode pair.

What an attempt counts (requests in flight, prompt tokens to be worked on, a breaker's probe)
goes back in `_release`, whatever ended it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from sglrouter.fleet.fleets import Fleet
from sglrouter.fleet.peers import Peer
from sglrouter.fleet.workers import Worker
from sglrouter.serving import outgoing, pairs
from sglrouter.serving.answer import Answer
from sglrouter.serving.connect import connect
from sglrouter.serving.retry import Cause
from sglrouter.serving.target import Target
from sglrouter.wire.upstream import Upstream, take_idle


class Attempt(Answer, ABC):
    """One target after the other, or a pair of them."""

    target: Target | None = None
    deadline = _first_byte_s = 0.0
    attempts = cached_tokens = _ahead = _backlog = _probe = 0
    connecting: asyncio.Task[None] | None = None
    _half: pairs.PrefillHalf | None = None
    _paired_body = _renamed = b""

    @abstractmethod
    def response_head(self, connection: Upstream, raw: bytes, status: int) -> bytes | None:
        """The head for the client, or None when someone else is asked instead."""

    @abstractmethod
    def completed(self) -> None:
        """The whole answer has been passed on."""

    @abstractmethod
    def attempt_failed(self, cause: Cause, culprit: Worker | None = None) -> None:
        """Nothing has reached the client yet. `culprit`: of a pair, the worker that failed."""

    @abstractmethod
    def upstream_ended(self, *, clean: bool) -> None:
        """The target's connection ended in mid-answer."""

    @property
    def worker(self) -> Worker | None:
        """The worker that answers, or is to."""
        return self.target if isinstance(self.target, Worker) else None

    def _aim(self, target: Target) -> None:
        self.target = target
        target.in_flight += 1

    def _aim_at_worker(self, fleet: Fleet, worker: Worker) -> None:
        worker.last_chosen = next(self.router.choices)
        if fleet.sick:
            self._probe = worker.breaker.sent(self.router.now)
        self.target = worker
        worker.in_flight += 1

    def _send_pair(self, *, fresh: bool) -> None:
        half, decode = self._half, self.target
        assert half is not None
        assert decode is not None
        self._paired_body = pairs.body_of(self.view, self._renamed, half.worker)
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
        """Head and body for a target: the client's own bytes for a worker of the model's fleet."""
        request = self.request
        assert request.head is not None
        if isinstance(target, Worker):
            body = self._paired_body or self._renamed or request.body
            return request.head.for_worker(target.host_header, len(body), request.id), body
        return outgoing.payload(self, target)

    # what becomes of it

    def overdue(self, now: float) -> bool:
        """Whether its first byte should be there; a router that died sends none, nor an end."""
        if self.phase not in ("connecting", "waiting"):
            return False
        target = self.target
        return self.deadline < now or (isinstance(target, Peer) and target.dead)

    def answered_by_prefill(self, connection: Upstream, raw: bytes, status: int) -> bytes:
        """The prefill worker refused the request: its answer is the client's."""
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        if self._upstream is not None:
            self._upstream.discard()
        self._upstream = connection
        return self._head(connection, outgoing.marks(self, raw))

    def _again(self) -> None:
        """A kept-alive connection was stale: the same target on a fresh one."""
        self._drop_upstream()
        if self._half is None:
            self._send(None)
            return
        self._half.restart()
        self._send_pair(fresh=True)

    def _drop_upstream(self) -> None:
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        if self._upstream is not None:
            self._upstream.discard()
            self._upstream = None

    def _observe_stream(self, worker: Worker) -> None:
        """Tell the policy how long the worker took for the first byte of a stream."""
        policy = self.router.policies.get(worker.fleet)
        if policy is not None and self._half is None and not worker.removed:
            seconds = self.router.clock() - (self.deadline - self._first_byte_s)
            policy.first_byte(worker.slot, self._backlog, self.cached_tokens, self._ahead, seconds)

    def _forget_backlog(self, worker: Worker) -> None:
        worker.backlog -= self._backlog
        self._backlog = 0

    def _release(self) -> None:
        """Close what is open to the target and take back what was counted on it."""
        if self._upstream is not None or self.connecting is not None:
            self._drop_upstream()
        if self._half is not None:
            self._half.release()
            self._half, self._paired_body = None, b""
        target, self.target = self.target, None
        if target is None:
            return
        target.in_flight -= 1
        if isinstance(target, Worker):
            if self._backlog:
                self._forget_backlog(target)
            if self._probe:
                target.breaker.abandoned(self._probe)
                self._probe = 0
