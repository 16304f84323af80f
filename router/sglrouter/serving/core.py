"""The router of one process: what its connections share, and who answers each request."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from sglrouter.access.keys import KeyRing
from sglrouter.fleet.workers import STALE_S, Fleet, WorkerSet
from sglrouter.log import Log
from sglrouter.models import RouterDocument
from sglrouter.policy import Policy, make_policy
from sglrouter.serving.exchange import Exchange
from sglrouter.serving.retry import RetryBudget
from sglrouter.telemetry.metrics import Metrics
from sglrouter.wire import replies
from sglrouter.wire.body import BadBodyError, RequestView, read_body
from sglrouter.wire.head import Head
from sglrouter.wire.replies import Failure
from sglrouter.wire.routes import Kind, Route
from sglrouter.wire.upstream import close_idle

if TYPE_CHECKING:
    from sglrouter.wire.client import ClientConnection, Request

# How often deadlines are looked at; a timer per request would cost more than it gives.
TICK_S = 0.25

_NOT_LOADED = Failure(503, "keys_not_loaded", "The API keys are not loaded yet.", None, 2)
_UNAUTHORISED = Failure(401, "invalid_api_key", "The API key is missing or wrong.")


class Router:
    """Shared by all connections; lives in one event loop, so nothing here is locked."""

    def __init__(
        self,
        document: RouterDocument,
        log: Log,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = clock or time.monotonic  # uvloop's own has milliseconds only
        self.now = self.clock()  # as of the last tick
        self.document = document
        self.log = log
        stale_s = max(STALE_S, 3 * document.discovery.state_interval_s)
        self.workers = WorkerSet(document.fleets, stale_s)
        self.policy: Policy = make_policy(document.policy, document.affinity)
        self.keys = KeyRing()
        self.metrics = Metrics()
        self.budget = RetryBudget(self.now)
        self.clients: set[ClientConnection] = set()
        self.exchanges: set[Exchange] = set()
        self.choices = itertools.count(1)
        self.draining = False  # /health says so
        self.stopping = False  # nothing new is accepted
        self._id_prefix = secrets.token_hex(6)
        self._ids = itertools.count(1)

    def new_request_id(self) -> bytes:
        return f"{self._id_prefix}-{next(self._ids):x}".encode()

    def screen(self, head: Head, route: Route) -> tuple[Failure | None, str]:
        """Judge a request by its head alone: (why it is refused, name of its key)."""
        if route.kind is Kind.HEALTH:
            return None, ""
        if self.document.keys is None:
            key_name: str | None = ""
        elif not self.keys.loaded:
            return _NOT_LOADED, ""
        else:
            key_name = self.keys.name_of(head.credential)
        if key_name is None:
            return _UNAUTHORISED, ""
        if route.kind is Kind.UNKNOWN:
            return Failure(404, "route_not_found", "There is no such route."), key_name
        return None, key_name

    def serve(self, client: ClientConnection, request: Request) -> None:
        """Answer a request, or begin to."""
        if request.failure is not None:
            self._refuse(client, request, request.failure)
        elif request.route.kind is Kind.FORWARD or self._asks_worker(request.route):
            self._forward(client, request)
        elif request.method not in (b"GET", b"HEAD"):
            failure = Failure(405, "method_not_allowed", "This route answers GET and HEAD.")
            self._refuse(client, request, failure)
        else:
            self._answer(client, request, *self._local(request.route))

    def _asks_worker(self, route: Route) -> bool:
        """Whether a worker answers about models: it is the only fleet and takes any model."""
        return (
            route.kind in (Kind.MODELS, Kind.MODEL)
            and self.workers.any_model is not None
            and len(self.workers.fleets) == 1
        )

    def resolve(self, view: RequestView) -> Fleet | Failure:
        """The fleet that serves a request's model."""
        if view.model is not None:
            name = self.workers.models.get(view.model, self.workers.any_model)
            if name is None:
                message = f"The model `{view.model[:200]}` does not exist."
                return Failure(404, "model_not_found", message, "model")
            return self.workers.fleets[name]
        if len(self.workers.fleets) == 1:
            return next(iter(self.workers.fleets.values()))
        message = "Several fleets are served here: say which `model` is meant."
        return Failure(400, "model_required", message, "model")

    def _forward(self, client: ClientConnection, request: Request) -> None:
        head = request.head
        assert head is not None
        try:
            view = read_body(head.method, head.target, head.content_type, request.body)
        except BadBodyError as error:
            self._refuse(client, request, error.failure)
            return
        fleet = self.resolve(view)
        if isinstance(fleet, Failure):
            self._refuse(client, request, fleet)
            return
        exchange = Exchange(self, client, request, fleet, view)
        client.attach(exchange)
        exchange.start()

    def health(self) -> tuple[int, bytes]:
        ready = self.workers.ready_count()
        status = "draining" if self.draining else "ok" if ready else "no_ready_worker"
        # Keys come minutes after the first start of an environment: routers must not be replaced
        # for want of them, so this is told and not a 503.
        keys = self.document.keys is None or self.keys.loaded
        body = orjson.dumps({"status": status, "ready_workers": ready, "keys_loaded": keys})
        return (200 if status == "ok" else 503), body

    def _local(self, route: Route) -> tuple[int, bytes]:
        if route.kind is Kind.HEALTH:
            return self.health()
        models, routes = self.workers.models, self.document.fleets
        if route.kind is Kind.MODELS:
            return 200, orjson.dumps(replies.models_document(models, routes))
        if route.name in models:
            fleet = models[route.name]
            return 200, orjson.dumps(replies.model_document(route.name, fleet, routes[fleet]))
        message = f"The model `{route.name[:200]}` does not exist."
        failure = Failure(404, "model_not_found", message, "model")
        return 404, orjson.dumps(replies.error_document(failure))

    def _answer(self, client: ClientConnection, request: Request, status: int, body: bytes) -> None:
        close = request.close or self.stopping
        client.transport.write(
            replies.render(
                status,
                body,
                request_id=request.id,
                close=close,
                head_only=request.method == b"HEAD",
            )
        )
        self.metrics.answered(request.route.label, "", "", status)
        if request.route.kind is not Kind.HEALTH:
            self._log_local(client, request, status, "complete")
        client.finished(close=close)

    def _refuse(self, client: ClientConnection, request: Request, failure: Failure) -> None:
        close = request.close or self.stopping
        client.transport.write(
            replies.refusal(
                failure,
                request_id=request.id,
                close=close,
                head_only=request.method == b"HEAD",
            )
        )
        self.metrics.answered(request.route.label, "", "", failure.status)
        self._log_local(client, request, failure.status, failure.code)
        client.finished(close=close)

    def _log_local(
        self, client: ClientConnection, request: Request, status: int, outcome: str
    ) -> None:
        self.log.write(
            "request",
            {
                "id": request.id.decode(),
                "client": client.peer,
                "key": request.key_name,
                "method": request.method.decode("latin-1"),
                "route": request.route.label,
                "status": status,
                "outcome": outcome,
                "bytes_in": len(request.body),
            },
        )

    def account(self, exchange: Exchange, outcome: str, worker: str) -> None:
        """A request that was routed is over: count it and write its line."""
        now = self.clock()
        fleet, request = exchange.fleet.name, exchange.request
        first = exchange.first_byte_at
        self.metrics.answered(request.route.label, fleet, fleet, exchange.status or 499)
        self.metrics.request.observe(fleet, now - exchange.started)
        if first:
            self.metrics.first_byte.observe(fleet, first - exchange.started)
        self.log.write(
            "request",
            {
                "id": request.id.decode(),
                "client": exchange.client.peer,
                "key": request.key_name,
                "method": request.method.decode("latin-1"),
                "route": request.route.label,
                "status": exchange.status or 499,
                "outcome": outcome,
                "bytes_in": len(request.body),
                "bytes_out": exchange.sent,
                "fleet": fleet,
                "model": exchange.view.model,
                "worker": worker,
                "attempts": exchange.attempts,
                "first_byte_ms": round((first - exchange.started) * 1000, 2) if first else None,
                "duration_ms": round((now - exchange.started) * 1000, 2),
            },
        )

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
        for exchange in [e for e in self.exchanges if e.deadline < now]:
            if exchange.phase in ("connecting", "waiting"):
                exchange.expired()
        idle_s = self.document.limits.idle_timeout_s
        for client in list(self.clients):
            client.tick(now, idle_s)
        for worker in self.workers.workers.values():
            close_idle(worker, now)
