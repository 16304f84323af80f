"""The admin listener: its own port and key, never behind the load balancer.

GET shows; POST drains and undrains a worker for this router, and asks for a reload.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import httptools
import orjson

from sglrouter.access.keys import same_key
from sglrouter.access.limits import TOO_MANY_WRONG_KEYS
from sglrouter.serving.core import Router
from sglrouter.telemetry import exposition
from sglrouter.wire import replies
from sglrouter.wire.replies import Failure
from sglrouter.wire.routes import origin_path

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
MAX_REQUEST_BYTES = 64 * 1024
IDLE_S = 75.0
#: For load balancers and Prometheus, which have no key.
OPEN = frozenset({b"/health", b"/metrics"})

Document = dict[str, Any]
SHOWN: dict[bytes, Callable[[Router], Document]] = {
    b"/workers": exposition.workers_document,
    b"/config": exposition.config_document,
    b"/index": exposition.index_document,
}

_NOT_LOADED = Failure(503, "keys_not_loaded", "The admin key is not loaded yet.", None, 2)
_UNAUTHORISED = Failure(401, "invalid_api_key", "The admin key is missing or wrong.")
_NOT_HTTP = Failure(400, "bad_request", "This is not a plain HTTP request.")
_NO_ROUTE = Failure(
    404,
    "route_not_found",
    "GET /workers, /config, /index, /ready, /metrics, /health; "
    "POST /workers/<id>/drain, /workers/<id>/undrain, /reload",
)
_WRONG_METHOD = Failure(405, "method_not_allowed", "This route does not answer this method.")


class Admin:
    """Answers operators: (status, body, content type) or a Failure for each request.

    `request_reload`: asks for a reload; None where there is no document to read again.
    """

    def __init__(self, router: Router) -> None:
        self.router = router
        self.request_reload: Callable[[], None] | None = None

    def answer(
        self, method: bytes, path: bytes, credential: bytes, peer: str
    ) -> tuple[int, bytes, bytes] | Failure:
        refused = None if path in OPEN else self._refused(credential, peer)
        if refused is not None:
            return refused
        if method == b"POST":
            return self._act(path)
        found = self._show(path)
        if isinstance(found, Failure) or method in (b"GET", b"HEAD"):
            return found
        return _WRONG_METHOD

    def _refused(self, credential: bytes, peer: str) -> Failure | None:
        router = self.router
        if router.document.admin_key is None:
            return None
        if router.admin_key_hash is None:
            return _NOT_LOADED
        if same_key(credential, router.admin_key_hash):
            return None
        too_many = router.limits.failed_auth(f"admin {peer}", router.clock())
        return TOO_MANY_WRONG_KEYS if too_many else _UNAUTHORISED

    def _show(self, path: bytes) -> tuple[int, bytes, bytes] | Failure:
        router = self.router
        if path == b"/health":
            return *router.health(), replies.JSON
        if path == b"/metrics":
            return 200, exposition.render_metrics(router), METRICS_TYPE
        if path == b"/ready":
            document = exposition.readiness(router)
            return 200 if document["ready"] else 503, orjson.dumps(document), replies.JSON
        show = SHOWN.get(path)
        if show is None:
            return _WRONG_METHOD if path == b"/reload" else _NO_ROUTE
        return 200, orjson.dumps(show(router)), replies.JSON

    def _act(self, path: bytes) -> tuple[int, bytes, bytes] | Failure:
        if path == b"/reload":
            return self._reload()
        match path.split(b"/"):
            case [b"", b"workers", quoted, b"drain" | b"undrain" as verb]:
                name = unquote_to_bytes(quoted).decode("utf-8", "replace")
                return self._drain(name, verb == b"drain")
        return _NO_ROUTE if isinstance(self._show(path), Failure) else _WRONG_METHOD

    def _drain(self, name: str, drained: bool) -> tuple[int, bytes, bytes] | Failure:
        """This router chooses the worker no more, or again. Its agent is told nothing."""
        router = self.router
        worker = router.workers.workers.get(name)
        if worker is None:
            return Failure(404, "worker_not_found", f"There is no worker {name[:200]!r}.", "id")
        changed = worker.drained_here is not drained
        router.workers.drain_here(worker, drained)
        router.workers.refresh(router.clock())
        if changed:
            event = "worker_drained" if drained else "worker_undrained"
            router.log.write(event, {"worker": worker.id, "fleet": worker.fleet})
        document = {
            "worker": worker.id,
            "drained_here": drained,
            "changed": changed,
            "in_flight": worker.in_flight,
            "done": _DRAINED if drained else _UNDRAINED,
        }
        return 200, orjson.dumps(document), replies.JSON

    def _reload(self) -> tuple[int, bytes, bytes] | Failure:
        if self.request_reload is None:
            return Failure(409, "no_reload", "This router has no document to read again.")
        self.request_reload()
        document = {"requested": True, "outcome": _RELOADED}
        return 202, orjson.dumps(document), replies.JSON


_DRAINED = (
    "This router gives the worker no new request; those in flight go on. "
    "Other routers and its agent are told nothing; a restart of this router forgets it."
)
_UNDRAINED = "This router chooses the worker again whenever it is ready."
_RELOADED = "In the log's `reload` line and in sglrouter_reloads_total."


class AdminConnection(asyncio.Protocol):
    """One connection of an operator; requests are answered at once, in order."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._url = self._bearer = self._api_key = b""
        self._received = 0
        self._peer = ""
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if peer else ""
        self._timer = self._admin.router.loop.call_later(IDLE_S, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._parser = None

    def data_received(self, data: bytes) -> None:
        self._timer.cancel()
        self._timer = self._admin.router.loop.call_later(IDLE_S, self._transport.close)
        self._received += len(data)
        if self._received > MAX_REQUEST_BYTES or self._parser is None:
            self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.write(replies.refusal(_NOT_HTTP, close=True))
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization" and value[:7].lower() == b"bearer ":
            self._bearer = value[7:].strip()
        elif name.lower() == b"x-api-key":
            self._api_key = value.strip()

    def on_message_complete(self) -> None:
        assert self._parser is not None
        method, path = self._parser.get_method(), origin_path(self._url)
        close, head_only = not self._parser.should_keep_alive(), method == b"HEAD"
        credential = self._bearer or self._api_key
        self._url = self._bearer = self._api_key = b""
        self._received = 0
        answer = self._admin.answer(method, path, credential, self._peer)
        if isinstance(answer, Failure):
            data = replies.refusal(answer, close=close, head_only=head_only)
        else:
            status, body, kind = answer
            data = replies.render(status, body, content_type=kind, close=close, head_only=head_only)
        self._transport.write(data)
        if close:
            self._transport.close()
