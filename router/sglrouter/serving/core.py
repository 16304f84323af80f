"""The router of one process: what its connections share, and who answers each request."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from sglrouter.access.address import client_address
from sglrouter.access.keys import ANYONE, KeyInfo, KeyRing
from sglrouter.access.limits import TOO_MANY_WRONG_KEYS, KeyLimits
from sglrouter.fleet.fleets import Fleet
from sglrouter.fleet.peers import Peer, Peers
from sglrouter.fleet.workers import STALE_S, Worker, WorkerSet
from sglrouter.log import Log
from sglrouter.models import RouterDocument
from sglrouter.policy import Policy
from sglrouter.serving.accounting import account_local
from sglrouter.serving.attempt import Attempt
from sglrouter.serving.configured import PolicyMaker, externals_of
from sglrouter.serving.exchange import Exchange
from sglrouter.serving.external import ExternalTarget
from sglrouter.serving.local import local_answer
from sglrouter.serving.placement import Placement
from sglrouter.serving.resolve import priority_of, resolve
from sglrouter.serving.retry import RetryBudget
from sglrouter.telemetry.metrics import Metrics
from sglrouter.wire import replies
from sglrouter.wire.body import BadBodyError, RequestView, read_body
from sglrouter.wire.head import Head
from sglrouter.wire.memory import RequestMemory
from sglrouter.wire.replies import Failure
from sglrouter.wire.routes import Kind, Route
from sglrouter.wire.upstream import close_idle

if TYPE_CHECKING:
    from sglrouter.wire.client import ClientConnection
    from sglrouter.wire.reader import Request

# How often deadlines are looked at; a timer per request would cost more than it gives.
TICK_S = 0.25

_NOT_LOADED = Failure(503, "keys_not_loaded", "The API keys are not loaded yet.", None, 2)
_UNAUTHORISED = Failure(401, "invalid_api_key", "The API key is missing or wrong.")
_NO_ROUTE = Failure(404, "route_not_found", "There is no such route.")


class Router:
    """Shared by all connections; lives in one event loop, so nothing here is locked.

    `memory`: the prefix index's table, where several processes share one.
    """

    def __init__(
        self,
        document: RouterDocument,
        log: Log,
        clock: Callable[[], float] | None = None,
        memory: memoryview | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = clock or time.monotonic  # uvloop's own has milliseconds only
        self.now = self.clock()  # as of the last tick
        self.log = log
        self.workers = WorkerSet({}, STALE_S)
        self.policies: dict[str, Policy] = {}
        self.externals: dict[str, ExternalTarget] = {}
        self.external_keys: dict[str, bytes] = {}  # those that are loaded
        self.peers = Peers(processes=document.listen.processes)
        self.keys = KeyRing()
        self.limits = KeyLimits()
        self.admin_key_hash: bytes | None = None
        self.metrics = Metrics()
        self.budget = RetryBudget(self.now)
        self.clients: set[ClientConnection] = set()
        self.exchanges: set[Exchange] = set()
        self.ended: list[tuple[Exchange, str, bytes, float]] = []  # to be accounted for, see there
        self.choices = itertools.count(1)
        self.draining = False  # /health says so
        self.stopping = False  # nothing new is accepted
        self._policy_maker = PolicyMaker(memory)
        self._pumping = False
        self._id_prefix = secrets.token_hex(6)
        self._ids = itertools.count(1)
        self.configure(document)

    def configure(self, document: RouterDocument) -> None:
        """Put a document in force. What runs goes on; what waits for a fleet that is gone fails."""
        self.externals = externals_of(document, self.externals)  # may fail: nothing changed yet
        self.document = document
        self.max_header_bytes = document.limits.max_header_bytes
        self.max_body_bytes = document.limits.max_body_bytes
        self.known_requests = RequestMemory(document)
        self.workers.stale_s = max(STALE_S, 3 * document.discovery.state_interval_s)
        gone = self.workers.configure(document.fleets)
        self.policies = self._policy_maker.policies(document, self.policies)
        if document.keys is not None:
            self.limits.failed_per_minute = document.keys.failed_per_minute
        for fleet in gone:
            for waiting in list(fleet.queue):
                waiting.waited_too_long()
        self.workers.refresh(self.now)

    def forget(self, worker: Worker) -> None:
        """The worker is no longer in the set."""
        close_idle(worker)
        policy = self.policies.get(worker.fleet)
        if policy is not None:
            policy.forget(worker.slot)

    def new_request_id(self) -> bytes:
        return f"{self._id_prefix}-{next(self._ids):x}".encode()

    # who may ask

    def screen(self, head: Head, route: Route, peer: str = "") -> tuple[Failure | None, KeyInfo]:
        """Judge a request by its head alone: (why it is refused, whose key it has)."""
        if route.kind is Kind.HEALTH:
            return None, ANYONE
        info: KeyInfo | None = ANYONE
        if self.document.keys is not None:
            if not self.keys.loaded:
                return _NOT_LOADED, ANYONE
            info = self.keys.find(head.credential)
        if info is None:
            return self._wrong_key(head, peer), ANYONE
        return (_NO_ROUTE if route.kind is Kind.UNKNOWN else None), info

    def _wrong_key(self, head: Head, peer: str) -> Failure:
        assert self.document.keys is not None
        forwarded_for = self.document.keys.forwarded_for
        address = client_address(peer, head.passed, forwarded_for=forwarded_for)
        too_many = self.limits.failed_auth(address, self.clock())
        return TOO_MANY_WRONG_KEYS if too_many else _UNAUTHORISED

    def admit(self, exchange: Attempt) -> Failure | None:
        """Count a request against its key's bounds, or say which forbids it."""
        key = exchange.request.key
        if not key.bounded:
            return None
        tokens = exchange.view.prompt.tokens
        return self.limits.admit(key, tokens, self.clock(), self.peers.share)

    def defect(self, client: ClientConnection) -> None:
        """Log what nobody thought of, inside `except`; the client's connection ends."""
        self.log.write("defect", {"traceback": traceback.format_exc()})
        client.transport.abort()

    # who answers

    def serve(self, client: ClientConnection, request: Request) -> None:
        """Answer a request, or begin to."""
        if request.failure is not None:
            self._refuse(client, request, request.failure)
        elif request.route.kind is Kind.FORWARD or self._asks_worker(request.route):
            self.forward(client, request)
        elif request.method not in (b"GET", b"HEAD"):
            failure = Failure(405, "method_not_allowed", "This route answers GET and HEAD.")
            self._refuse(client, request, failure)
        else:
            self._answer(client, request, *local_answer(self, request.route))

    def _asks_worker(self, route: Route) -> bool:
        """Whether a worker answers about models: it is the only fleet and takes any model."""
        return (
            route.kind in (Kind.MODELS, Kind.MODEL)
            and self.workers.any_model is not None
            and len(self.workers.fleets) == 1
        )

    def forward(self, client: ClientConnection, request: Request) -> None:
        """Give a request to a worker, or to the router that owns its conversation."""
        head = request.head
        assert head is not None
        try:
            view = read_body(head, request.body)
        except BadBodyError as error:
            self._refuse(client, request, error.failure)
            return
        fleet, adapter = self.workers.served.get(view.model), ""
        if fleet is None:
            found = resolve(self.workers, view.model)
            if isinstance(found, Failure):
                self._refuse(client, request, found)
                return
            fleet, adapter = found
        key = request.key
        priority = priority_of(head.priority, key) if head.priority else key.priority
        exchange = Exchange(self, client, request, fleet, view, adapter, priority)
        client.exchange = exchange
        self.exchanges.add(exchange)
        owner = self._owner(head, view) if self.peers.live else None
        if owner is None:
            exchange.start()
        else:
            exchange.hand_over(owner)

    def _owner(self, head: Head, view: RequestView) -> Peer | None:
        """The other router that owns the conversation; a request takes one hop at most."""
        if head.hop or not view.is_json:
            return None
        return self.peers.owner_of(view.prompt.conversation)

    def health(self) -> tuple[int, bytes]:
        """What load balancer and peers go by: 200 where a request would be taken."""
        ready = self.workers.ready_count()
        keys = self.document.keys is None or self.keys.loaded
        status = "draining" if self.draining else "ok" if ready else "no_ready_worker"
        if status == "ok" and not keys:  # a new router refuses all that others would serve
            status = "keys_not_loaded"
        body = orjson.dumps({"status": status, "ready_workers": ready, "keys_loaded": keys})
        return (200 if status == "ok" else 503), body

    def _answer(self, client: ClientConnection, request: Request, status: int, body: bytes) -> None:
        close = request.close or self.stopping
        head_only = request.method == b"HEAD"
        answer = replies.render(
            status, body, request_id=request.id, close=close, head_only=head_only
        )
        client.reply(answer)
        if request.route.kind is Kind.HEALTH:
            self.metrics.answered(request.route.label, "", "", status)
        else:
            account_local(self, client, request, status, "complete")
        client.finished(close=close)

    def _refuse(self, client: ClientConnection, request: Request, failure: Failure) -> None:
        close = request.close or self.stopping
        head_only = request.method == b"HEAD"
        answer = replies.refusal(failure, request_id=request.id, close=close, head_only=head_only)
        client.reply(answer)
        account_local(self, client, request, failure.status, failure.code)
        client.finished(close=close)

    # what exchanges tell

    def breaker_opened(self, worker: Worker) -> None:
        self.metrics.breaker_opened(worker.fleet)
        self.log.write("breaker_opened", {"worker": worker.id, "fleet": worker.fleet})

    def pump(self, fleet: Fleet) -> None:
        """Let those who wait run while there is room. One who needs an adapter whose workers are
        full lets others pass; never recurses."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while (waiting := self._next_waiting(fleet)) is not None:
                try:
                    waiting.proceed()
                except Exception:  # a defect met by one request must not end another's answer
                    self.defect(waiting.client)
        finally:
            self._pumping = False

    def _next_waiting(self, fleet: Fleet) -> Placement | None:
        for waiting in fleet.queue:
            if fleet.has_room(self.now, waiting.adapter):
                return waiting
            if not waiting.adapter:
                return None
        return None

    # time

    async def run_ticks(self) -> None:
        """Look at every deadline, until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def tick(self) -> None:
        late = self.clock() - self.now > TICK_S + 1.0
        self.now = now = self.clock()
        if not late:  # else the loop itself hung, and the agents' answers wait in their sockets
            self.workers.refresh(now)
        for exchange in [e for e in self.exchanges if e.overdue(now)]:
            exchange.expired()
        for fleet in list(self.workers.fleets.values()):
            for waiting in fleet.queue.expired(now):
                waiting.waited_too_long()
            self.pump(fleet)
        alone = not self.peers.live
        for policy in self.policies.values():
            policy.alone = alone
            policy.sweep()
        idle_s = self.document.limits.idle_timeout_s
        for client in list(self.clients):
            client.tick(now, idle_s)
        self._close_idle(now)

    def _close_idle(self, now: float) -> None:
        for worker in self.workers.workers.values():
            close_idle(worker, now)
        for external in self.externals.values():
            close_idle(external, now)
        for peer in self.peers.known.values():
            close_idle(peer, now)
