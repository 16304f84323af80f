"""Where a request may be sent in turn, and what it becomes on its way outside. Pure.

The chain of a fleet: itself, then its `fallback` in order: other fleets, external APIs.
It is for failures: a fleet that is merely full queues.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sglrouter.models import ANY_MODEL, External, FleetRoute
from sglrouter.wire.body import RequestView

# OpenAI's own routes (https://platform.openai.com/docs/api-reference), and Anthropic's: its native
# one and the compatible one (https://platform.claude.com/docs/en/api/openai-sdk).
ROUTES = {
    "openai": frozenset(
        {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"}
    ),
    "anthropic": frozenset({"/v1/messages", "/v1/chat/completions"}),
}
ANTHROPIC_VERSION = b"2023-06-01"
# A stranger gets what describes the request, nothing of who asked (cookies, addresses, our marks).
_PASSED = re.compile(
    rb"(?:accept|accept-encoding|content-type|user-agent|idempotency-key|openai-beta"
    rb"|anthropic-version|anthropic-beta):",
    re.IGNORECASE,
)
_MODEL = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class Stop:
    """One tier: a fleet or an external API, and how long it may take to its first byte (s)."""

    name: str
    external: bool
    first_byte_s: float


def stops_of(name: str, route: FleetRoute) -> tuple[Stop, ...]:
    """The chain of a fleet, itself first."""
    further = [
        Stop(tier.name, tier.external is not None, tier.first_byte_timeout_s)
        for tier in route.fallback
    ]
    return (Stop(name, False, route.first_byte_s), *further)


def mapped_model(external: External, path: str, model: str | None) -> str | None:
    """The external's name of the model; None: it does not serve this request."""
    if model is None or path not in ROUTES[external.kind]:
        return None
    return external.models.get(model)


def body_for_fleet(view: RequestView, route: FleetRoute, adapter: str = "") -> bytes:
    """The body with the model's name in another fleet, its first; empty: it may stay as it is."""
    names = route.models
    if view.model is None or ANY_MODEL in names:
        return b""
    if view.model.removesuffix(f":{adapter}" if adapter else "") in names:
        return b""
    assert view.document is not None  # it has a model
    return rename_model(view.body, view.document, f"{names[0]}:{adapter}" if adapter else names[0])


def rename_model(body: bytes, document: Mapping[str, Any], model: str) -> bytes:
    """The body with another model and nothing else changed.

    Only the value's bytes are replaced where `model` can be found beyond doubt (one candidate,
    and the result parses to what is meant); otherwise the document is written anew.
    """
    wanted = {**document, "model": model}
    found = list(_MODEL.finditer(body))
    if len(found) == 1:
        start, end = found[0].span(1)
        spliced = body[:start] + orjson.dumps(model) + body[end:]
        if _parse(spliced) == wanted:
            return spliced
    try:
        return orjson.dumps(wanted)
    except TypeError:  # a number beyond 64 bits, which only Python's parser took; or too deep
        return _written(wanted) or body


def _written(document: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(document).encode()
    except RecursionError:
        return b""


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)  # as lenient as what parsed the request
    except (ValueError, RecursionError):
        return None


def lines_for(kind: str, path: str, passed: bytes, key: bytes) -> bytes:
    """Header lines for an external, each ending in CRLF, with its own credential."""
    lines = [line for line in passed.split(b"\r\n") if _PASSED.match(line)]
    if kind == "anthropic" and path == "/v1/messages":
        lines.append(b"x-api-key: " + key)
        if not any(line.lower().startswith(b"anthropic-version:") for line in lines):
            lines.append(b"anthropic-version: " + ANTHROPIC_VERSION)
    else:
        lines.append(b"authorization: Bearer " + key)
    return b"\r\n".join(lines) + b"\r\n"
