"""The admin listener: GET only, its own port, never behind the load balancer."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools
import orjson

from sglrouter.serving.core import Router
from sglrouter.telemetry.exposition import config_document, render_metrics, workers_document
from sglrouter.wire import replies
from sglrouter.wire.replies import Failure
from sglrouter.wire.routes import origin_path

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
MAX_REQUEST_BYTES = 64 * 1024
IDLE_S = 75.0


class AdminConnection(asyncio.Protocol):
    def __init__(self, router: Router) -> None:
        self.router = router
        self._url = b""
        self._received = 0
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._timer = self.router.loop.call_later(IDLE_S, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._parser = None

    def data_received(self, data: bytes) -> None:
        self._timer.cancel()
        self._timer = self.router.loop.call_later(IDLE_S, self._transport.close)
        self._received += len(data)
        if self._received > MAX_REQUEST_BYTES or self._parser is None:
            self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            failure = Failure(400, "bad_request", "This is not a plain HTTP request.")
            self._transport.write(replies.refusal(failure, close=True))
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        assert self._parser is not None
        method, path = self._parser.get_method(), origin_path(self._url)
        close = not self._parser.should_keep_alive()
        self._url, self._received = b"", 0
        self._transport.write(self._answer(method, path, close))
        if close:
            self._transport.close()

    def _answer(self, method: bytes, path: bytes, close: bool) -> bytes:
        if method not in (b"GET", b"HEAD"):
            failure = Failure(405, "method_not_allowed", "The admin routes answer GET.")
            return replies.refusal(failure, close=close)
        head_only = method == b"HEAD"
        status, content_type = 200, replies.JSON
        if path == b"/health":
            status, body = self.router.health()
        elif path == b"/workers":
            body = orjson.dumps(workers_document(self.router))
        elif path == b"/config":
            body = orjson.dumps(config_document(self.router))
        elif path == b"/metrics":
            body, content_type = render_metrics(self.router), METRICS_TYPE
        else:
            failure = Failure(404, "route_not_found", "/workers, /config, /metrics or /health")
            return replies.refusal(failure, close=close, head_only=head_only)
        return replies.render(
            status, body, content_type=content_type, close=close, head_only=head_only
        )
