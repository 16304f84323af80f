"""What is counted and written of a request that is over."""

from __future__ import annotations

import time
import traceback
from functools import lru_cache
from typing import TYPE_CHECKING

from sglrouter.inner import request_line
from sglrouter.inner.ending import Used
from sglrouter.log import encode
from sglrouter.serving.usage import TAIL_BYTES, estimate_usage, read_usage
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


def usage_of(exchange: Exchange) -> Used | None:
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


def account(router: Router, exchange: Exchange, outcome: str, target: bytes) -> None:
    """A request that was routed is over: count it and write its line, with all that ended by now.

    One after the other they find the code and the dictionaries in the processor's caches.
    """
    if exchange.admitted:
        router.limits.release(exchange.request.key)
    if not router.ended:
        router.loop.call_soon(_settle, router)
    router.ended.append((exchange, outcome, target, router.clock()))
    if exchange.request.key.bounded:  # what it used counts for a request that is here already
        _settle(router)


def _settle(router: Router) -> None:
    ended, router.ended = router.ended, []
    for exchange, outcome, target, now in ended:
        try:
            _count(router, exchange, outcome, target, now)
        except Exception:  # a defect met by one must not hide the others
            router.log.write("defect", {"traceback": traceback.format_exc()})


def _count(router: Router, exchange: Exchange, outcome: str, target: bytes, now: float) -> None:
    metrics = router.metrics
    request, fleet, tier = exchange.request, exchange.fleet.name, exchange.tier
    route, key = request.route.label, request.key
    started, first, status = exchange.started, exchange.first_byte_at, exchange.status or 499
    usage = usage_of(exchange)
    model = (exchange.view.model or "")[:200] or None  # clients name models, at any length
    tally = metrics.tallies.get((route, fleet, tier, status, key.name))
    if tally is None:
        tally = metrics.tally(route, fleet, tier, status, key.name)
    tally.add(now - started, first - started if first else None, usage, exchange.cached_tokens)
    if not first:
        if status != 499:
            metrics.refused(fleet, outcome)
    elif exchange.event_stream and exchange.events > 1:
        metrics.itl.observe(fleet, (now - first) / (exchange.events - 1))
    if key.bounded and usage is not None:
        tokens = exchange.view.prompt.tokens
        router.limits.spent(key, usage[0] + usage[1], tokens)
    router.log.put(
        request_line(
            time.time(),
            request.id,
            _who(exchange.client.peer, key.name, request.method, route),
            status,
            len(request.body),
            exchange.sent,
            _where(fleet, tier, model, target, exchange.reason, outcome),
            exchange.attempts,
            exchange.waited_s,
            started,
            first,
            now,
            usage,
            _extra(exchange),
        )
    )


@lru_cache(maxsize=1024)
def _who(client: str, key: str, method: bytes, route: str) -> bytes:
    said = {"client": client, "key": key, "method": method.decode("latin-1"), "route": route}
    return encode(said)[1:-1]


@lru_cache(maxsize=1024)
def _where(
    fleet: str, tier: str, model: str | None, target: bytes, reason: str, outcome: str
) -> bytes:
    worker = target.decode()
    said = {"fleet": fleet, "tier": tier, "model": model, "worker": worker, "reason": reason}
    return encode({**said, "outcome": outcome})[1:-1]


def _extra(exchange: Exchange) -> bytes:
    """What few requests have."""
    head = exchange.request.head
    extra = b',"queue_position":%d' % exchange.position if exchange.queued_at else b""
    if head is not None and head.traced and (trace := trace_id(head.passed)):
        extra += b',"trace_id":"%b"' % trace.encode()
    return extra


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
