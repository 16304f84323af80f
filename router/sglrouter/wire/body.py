"""What of a request decides where it goes: the JSON it carries and its model. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from sglrouter.policy.prompt import Prompt, read_prompt
from sglrouter.wire.head import Head
from sglrouter.wire.replies import Failure

# Python's parser accepts NaN, as engines do, but is slow: only for bodies up to this size.
_SLOW_PARSE_BYTES = 4 * 1024 * 1024
_BODYLESS = (b"GET", b"HEAD", b"OPTIONS", b"DELETE")


@dataclass(slots=True)
class RequestView:
    """A request as policies see it; `document` is the parsed body, None when it is not JSON.

    `session`: the session header's value; `prompt` is read when it is first asked for.
    """

    path: bytes
    body: bytes
    document: Mapping[str, Any] | None
    model: str | None
    session: bytes = b""
    _prompt: Prompt | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def prompt(self) -> Prompt:
        if self._prompt is None:
            self._prompt = read_prompt(self.document, self.body)
        return self._prompt


class BadBodyError(Exception):
    """The body cannot be routed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _parse_slowly(body: bytes, reason: str) -> Any:
    """`reason`: why orjson refused it."""
    if len(body) <= _SLOW_PARSE_BYTES:
        try:
            document = json.loads(body)
            if isinstance(document, dict) and isinstance(document.get("model"), str):
                document["model"].encode()  # ValueError: a lone surrogate, in answers and log too
            return document
        except (ValueError, RecursionError) as error:
            reason = str(error)
    raise BadBodyError(Failure(400, "invalid_json", f"The body is not valid JSON: {reason}"))


def read_body(head: Head, body: bytes) -> RequestView:
    """The view of a request. Raises BadBodyError for what is neither JSON nor a known other."""
    if head.opaque or (not body and head.method in _BODYLESS):
        return RequestView(head.target, body, None, None, head.session)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _parse_slowly(body, str(error))
    if not isinstance(document, dict):
        raise BadBodyError(Failure(400, "invalid_json", "The body must be a JSON object."))
    model = document.get("model")
    if model is not None and not isinstance(model, str):
        raise BadBodyError(Failure(400, "invalid_model", "`model` must be a string.", "model"))
    return RequestView(head.target, body, document, model, head.session)
