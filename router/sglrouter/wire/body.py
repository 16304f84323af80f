"""What of a request decides where it goes: the JSON it carries and its model. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from sglrouter import inner
from sglrouter.policy.prompt import Prompt, of_found, read_prompt
from sglrouter.wire.head import Head
from sglrouter.wire.replies import Failure

# Python's parser accepts NaN, as engines do, but is slow: only for bodies up to this size.
_SLOW_PARSE_BYTES = 4 * 1024 * 1024
_BODYLESS = (b"GET", b"HEAD", b"OPTIONS", b"DELETE")


class RequestView:
    """A request as policies see it; `document` is the parsed body, None when it is not JSON.

    `session`: the session header's value. Prompt and document are read when first asked for, out
    of what `inner.read_body` `found`, if it did.
    """

    __slots__ = ("_document", "_found", "_prompt", "body", "model", "path", "session")

    def __init__(
        self,
        path: bytes,
        body: bytes,
        document: Mapping[str, Any] | None,
        model: str | None,
        session: bytes = b"",
        found: tuple[bytes, int, int, int] | None = None,
    ) -> None:
        self.path = path
        self.body = body
        self.model = model
        self.session = session
        self._document = document
        self._found = found
        self._prompt: Prompt | None = None

    @property
    def is_json(self) -> bool:
        return self._found is not None or self._document is not None

    @property
    def document(self) -> Mapping[str, Any] | None:
        if self._document is None and self._found is not None:
            self._document = orjson.loads(self.body)
        return self._document

    @property
    def prompt(self) -> Prompt:
        if self._prompt is None:
            if self._found is None:
                self._prompt = read_prompt(self._document, self.body)
            else:
                self._prompt = of_found(self.model, *self._found)
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
    found = inner.read_body(body)
    if found is not None:
        return RequestView(head.target, body, None, found[0], head.session, found[1:])
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
