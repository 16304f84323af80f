"""What is counted and written of a request that is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sglrouter.serving.usage import Usage, estimate_usage, read_usage
from sglrouter.telemetry.trace import trace_id

if TYPE_CHECKING:
    from sglrouter.serving.core import Router
    from sglrouter.serving.exchange import Exchange
    from sglrouter.wire.client import ClientConnection, Request

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
    usage = read_usage(exchange.tail)
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
    metrics.answered(request.route.label, fleet, exchange.tier, status)
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
    fields = {
        "id": request.id.decode(),
        "client": exchange.client.peer,
        "key": request.key.name,
        "method": request.method.decode("latin-1"),
        "route": request.route.label,
        "status": status,
        "outcome": outcome,
        "bytes_in": len(request.body),
        "bytes_out": exchange.sent,
        "fleet": fleet,
        "tier": exchange.tier,
        "model": (exchange.view.model or "")[:200] or None,
        "worker": target,
        "reason": exchange.reason,
        "attempts": exchange.attempts,
        "queue_ms": _ms(exchange.waited_s),
        "first_byte_ms": _ms(first - exchange.started) if first else None,
        "duration_ms": _ms(now - exchange.started),
    }
    if usage is not None:
        fields |= _usage_fields(usage)
    if exchange.queued_at:
        fields["queue_position"] = exchange.position
    if request.head is not None and (trace := trace_id(request.head.passed)):
        fields["trace_id"] = trace
    router.log.write("request", fields)


def _ms(seconds: float) -> float:
    """Milliseconds with two decimals; `round` takes five times as long."""
    return int(seconds * 100_000) / 100


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


def _usage_fields(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "cached_tokens": usage.cached,
        "tokens_estimated": usage.estimated,
    }


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
