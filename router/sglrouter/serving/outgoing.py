"""What targets other than workers are sent, and what their answers are marked with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sglrouter.fleet.fleets import Fleet
from sglrouter.fleet.peers import Peer
from sglrouter.serving.external import ExternalTarget
from sglrouter.serving.retry import Cause
from sglrouter.serving.target import Target

if TYPE_CHECKING:
    from sglrouter.serving.attempt import Attempt
    from sglrouter.serving.core import Router

_OURS = (b"x-sglctl-worker:", b"x-sglctl-tier:")


def payload(exchange: Attempt, target: Target) -> tuple[bytes, bytes]:
    """Head and body for an external API, or for the router that owns the conversation."""
    request, router = exchange.request, exchange.router
    head = request.head
    assert head is not None
    if isinstance(target, ExternalTarget):
        key = router.external_keys.get(target.name.decode(), b"")
        return target.request(head, exchange.view, request.route.label, key, request.id)
    mark = b"%sx-sglctl-hop: %s\r\n" % (head.credentials, router.peers.self_id.encode())
    body = request.body
    return head.for_worker(target.host_header, len(body), request.id, mark), body


def marks(exchange: Attempt, raw: bytes) -> bytes:
    """The lines that tell who answered; another router has written its own."""
    target = exchange.target
    if isinstance(target, Peer):
        told = [line for line in raw.split(b"\r\n") if line.lower().startswith(_OURS)]
        return b"\r\n".join([*told, b"x-sglctl-router: " + target.name])
    name = target.name if target is not None else b""
    return b"x-sglctl-worker: " + name + b"\r\nx-sglctl-tier: " + exchange.tier.encode()


def peer_timeout_s(fleet: Fleet) -> float:
    """How long the owner may take: it may queue, retry, and ask its further tiers."""
    attempts = sum(stop.first_byte_s for stop in fleet.stops)
    return fleet.route.queue.timeout_s + 2 * attempts


def peer_failed(router: Router, peer: Peer, cause: Cause) -> None:
    """The owner did not answer. One that says no is alive; the others are skipped for a while."""
    router.metrics.hop("failed")
    if cause is not Cause.STATUS:
        router.peers.report_failure(peer)
