"""What is counted and written of a request that is over."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from sglrouter.log import encode
from sglrouter.serving.usage import TAIL_BYTES, Usage, estimate_usage, read_usage
from sglrouter.telemetry.trace import trace_id

if TYPE_CHECKING:
    from sglrouter.serving.core import Router
    from sglrouter.serving.exchange import Exchange
    from sglrouter.wire.client import ClientConnection
    from sglrouter.wire.reader import Request

#: Routes whose answers tell tokens, or would if they were not cut.
METERED = frozenset(
    {
        "/api/chat",
        "/api/generate",
        "/generate",
        "/invocations",
        "/vertex_generate",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/rerank",
        "/v1/responses",
        "/v1/score",
    }
)


def usage_of(exchange: Exchange) -> Usage | None:
    """Tokens of an answer that began well; None: it has none to count."""
    if not exchange.first_byte_at or exchange.status >= 300 or exchange.tier == "peer":
        return None
    if exchange.request.route.label not in METERED:
        return None
    usage = read_usage(exchange.tail[-TAIL_BYTES:])
    if usage is not None:
        return usage
    return estimate_usage(
        len(exchange.request.body), exchange.events if exchange.event_stream else 0
    )


def account(router: Router, exchange: Exchange, outcome: str, target: str) -> None:
    """A request that was routed is over: count it and write its line."""
    now, metrics = router.clock(), router.metrics
    fleet, request, first = exchange.fleet.name, exchange.request, exchange.first_byte_at
    status = exchange.status or 499
    metrics.requests[(request.route.label, fleet, exchange.tier, status)] += 1
    metrics.request.observe(fleet, now - exchange.started)
    if first:
        metrics.first_byte.observe(fleet, first - exchange.started)
        if exchange.event_stream and exchange.events > 1:
            metrics.itl.observe(fleet, (now - first) / (exchange.events - 1))
    elif status != 499:
        metrics.refused(fleet, outcome)
    usage = usage_of(exchange)
    if usage is not None:
        _spend(router, exchange, usage)
    router.log.put(_line(exchange, outcome, target, now, usage))


def _line(exchange: Exchange, outcome: str, target: str, now: float, usage: Usage | None) -> bytes:
    """The request's line of the log. Formatted by hand: it costs half of what a document does."""
    request, first, started = exchange.request, exchange.first_byte_at, exchange.started
    tokens = b"" if usage is None else _USAGE % (
        usage.prompt, usage.completion, _json(usage.cached), _json(usage.estimated),
    )  # fmt: skip
    queued = b',"queue_position":%d' % exchange.position if exchange.queued_at else b""
    model = (exchange.view.model or "")[:200] or None  # clients name models, at any length
    head = request.head
    trace = trace_id(head.passed) if head is not None and head.traced else ""
    return _REQUEST % (
        time.time(),
        _quoted(request.id),
        _who(exchange.client.peer, request.key.name, request.method, request.route.label),
        exchange.status or 499,
        len(request.body),
        exchange.sent,
        _where(exchange.fleet.name, exchange.tier, model, target, exchange.reason),
        _json(outcome),
        exchange.attempts,
        1000 * exchange.waited_s,
        b"%.2f" % (1000 * (first - started)) if first else b"null",
        1000 * (now - started),
        tokens,
        queued,
        b',"trace_id":"%b"' % trace.encode() if trace else b"",
    )


_REQUEST = (
    b'{"ts":%.3f,"event":"request","id":%b,%b,"status":%d,"bytes_in":%d,"bytes_out":%d,%b'
    b',"outcome":%b,"attempts":%d,"queue_ms":%.2f,"first_byte_ms":%b,"duration_ms":%.2f%b%b%b}\n'
)
_USAGE = b',"prompt_tokens":%d,"completion_tokens":%d,"cached_tokens":%b,"tokens_estimated":%b'
_json = lru_cache(maxsize=1024)(encode)


def _quoted(name: bytes) -> bytes:
    """Visible ASCII as JSON."""
    plain = b'"' not in name and b"\\" not in name
    return b'"%b"' % name if plain else encode(name.decode())


@lru_cache(maxsize=1024)
def _who(client: str, key: str, method: bytes, route: str) -> bytes:
    said = {"client": client, "key": key, "method": method.decode("latin-1"), "route": route}
    return encode(said)[1:-1]


@lru_cache(maxsize=1024)
def _where(fleet: str, tier: str, model: str | None, worker: str, reason: str) -> bytes:
    said = {"fleet": fleet, "tier": tier, "model": model, "worker": worker}
    return encode({**said, "reason": reason})[1:-1]


def _spend(router: Router, exchange: Exchange, usage: Usage) -> None:
    key = exchange.request.key
    if key.bounded:
        router.limits.spent(key, usage.prompt + usage.completion, exchange.view.prompt.tokens)
    router.metrics.tokens(
        key.name,
        exchange.fleet.name,
        usage.prompt,
        usage.completion,
        usage.cached,
        exchange.cached_tokens,
    )


def account_local(
    router: Router, client: ClientConnection, request: Request, status: int, outcome: str
) -> None:
    """The router answered by itself."""
    router.metrics.answered(request.route.label, "", "", status)
    if status >= 400:
        router.metrics.refused("", outcome)
    router.log.write(
        "request",
        {
            "id": request.id.decode(),
            "client": client.peer,
            "key": request.key.name,
            "method": request.method.decode("latin-1"),
            "route": request.route.label,
            "status": status,
            "outcome": outcome,
            "bytes_in": len(request.body),
        },
    )
