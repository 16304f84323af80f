"""Answers the router gives itself, as bytes ready for the wire. Pure.

Errors have OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`
(https://platform.openai.com/docs/guides/error-codes), so that every OpenAI client shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from sglrouter.models import FleetRoute

JSON = b"application/json"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Failure:
    """One way to say no to a client; `retry_after_s` becomes the Retry-After header."""

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after_s: int | None = None

    @property
    def type(self) -> str:
        if self.status == 401:
            return "authentication_error"
        if self.status == 429:
            return "rate_limit_error"
        if self.status == 504:
            return "timeout_error"
        return "invalid_request_error" if self.status < 500 else "service_unavailable"


def error_document(failure: Failure) -> dict[str, Any]:
    return {
        "error": {
            "message": failure.message,
            "type": failure.type,
            "param": failure.param,
            "code": failure.code,
        }
    }


def render(
    status: int,
    body: bytes,
    *,
    content_type: bytes = JSON,
    request_id: bytes = b"",
    extra: bytes = b"",
    close: bool = False,
    head_only: bool = False,
) -> bytes:
    """A whole response; `extra` is ready-made header lines, each ending in CRLF."""
    head = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n" % (
        status,
        HTTPStatus(status).phrase.encode(),
        content_type,
        len(body),
    )
    if request_id:
        head += b"x-request-id: " + request_id + b"\r\n"
    if close:
        head += b"connection: close\r\n"
    return head + extra + (b"\r\n" if head_only else b"\r\n" + body)


def refusal(
    failure: Failure,
    *,
    request_id: bytes = b"",
    extra: bytes = b"",
    close: bool = False,
    head_only: bool = False,
) -> bytes:
    if failure.retry_after_s is not None:
        extra += b"retry-after: %d\r\n" % failure.retry_after_s
    if failure.status == 401:
        extra += b'www-authenticate: Bearer realm="sglctl"\r\n'
    return render(
        failure.status,
        orjson.dumps(error_document(failure)),
        request_id=request_id,
        extra=extra,
        close=close,
        head_only=head_only,
    )


def stream_error(message: str) -> bytes:
    """The SSE event that ends a stream which broke: no `[DONE]` follows it."""
    document = error_document(Failure(502, "upstream_failed", message))
    return b"data: " + orjson.dumps(document) + b"\n\n"


def models_document(models: dict[str, str], routes: Mapping[str, FleetRoute]) -> dict[str, Any]:
    """OpenAI's list of models, from model name → fleet name and fleet name → route."""
    data = [model_document(name, fleet, routes[fleet]) for name, fleet in models.items()]
    return {"object": "list", "data": data}


def model_document(name: str, fleet: str, route: FleetRoute) -> dict[str, Any]:
    """One model as SGLang lists it: `owned_by` is the engine, `max_model_len` the context."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": route.engine,
        "root": name,
        "max_model_len": route.context_length,
        "fleet": fleet,
    }
