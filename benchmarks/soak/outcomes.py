"""What became of a request, as its client saw it. Pure.

A client must end with a whole answer or with an error it can see; anything else is a lie of the
router's and makes the soak fail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """Accounted for: the first seven. The others are never right."""

    COMPLETE = "complete"
    REFUSED = "refused with an error"
    ERROR_EVENT = "error event in the stream"
    CUT = "cut inside its framing"
    LEFT = "the client left"
    PROCESS_KILLED = "its router process was killed in mid-answer"
    UNREAD = "its router process was killed before an answer"

    SILENT = "ended as if whole, but is not"
    DONE_AFTER_ERROR = "[DONE] after an error"
    WRONG = "another answer than asked for"
    UNEXPLAINED = "an error without a reason"
    LOST = "connection lost without a reason"
    HANG = "no end in time"


ACCOUNTED = frozenset(list(Outcome)[:7])
#: Of the router's answers before a first byte (docs/reference/router.md) and of SGLang's errors.
_ERRORS = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Ask:
    """One request: `nonce` comes back in every event of its answer, `tokens` of them."""

    nonce: str
    tokens: int
    stream: bool
    prompt: str

    def is_of(self, document: Mapping[str, Any], number: int) -> bool:
        """Whether it is this request's answer, or the event of this number of it."""
        return (document.get("nonce"), document.get("number")) == (self.nonce, number)


@dataclass
class Seen:
    """What a client received. `cut`: its parser found the body not whole; `lost`: no head came."""

    status: int = 0
    body: bytes = b""
    cut: bool = False
    lost: bool = False


def judge(ask: Ask, seen: Seen, *, killed: bool = False) -> Outcome:
    """`killed`: a router process was killed while the request was under way."""
    if seen.lost:
        return Outcome.UNREAD if killed else Outcome.LOST
    if seen.status != 200:
        return _refused(seen)
    outcome = _stream(ask, seen) if ask.stream else _document(ask, seen)
    # A killed process's connections end without a word: only then is that accounted for as such.
    return Outcome.PROCESS_KILLED if killed and outcome is Outcome.CUT else outcome


def _refused(seen: Seen) -> Outcome:
    document = _parsed(seen.body)
    error = document.get("error") if document is not None else None
    if seen.cut or seen.status not in _ERRORS or not isinstance(error, dict):
        return Outcome.UNEXPLAINED
    return Outcome.REFUSED if error.get("message") else Outcome.UNEXPLAINED


def _document(ask: Ask, seen: Seen) -> Outcome:
    if seen.cut:
        return Outcome.CUT
    document = _parsed(seen.body)
    if document is None:
        return Outcome.SILENT
    return Outcome.COMPLETE if ask.is_of(document, ask.tokens) else Outcome.WRONG


def _stream(ask: Ask, seen: Seen) -> Outcome:
    blocks = seen.body.split(b"\n\n")
    rest, events = blocks.pop(), [block.removeprefix(b"data: ") for block in blocks]
    done = [index for index, event in enumerate(events) if event == b"[DONE]"]
    documents = [_parsed(event) for event in events if event != b"[DONE]"]
    failed = any(document is not None and "error" in document for document in documents)
    if failed:
        return Outcome.DONE_AFTER_ERROR if done else Outcome.ERROR_EVENT
    if any(
        document is None or not ask.is_of(document, index)
        for index, document in enumerate(documents)
    ):
        return Outcome.WRONG
    if done == [len(events) - 1] and len(documents) == ask.tokens and not rest:
        return Outcome.COMPLETE
    if done:
        return Outcome.WRONG
    return Outcome.CUT if seen.cut else Outcome.SILENT


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
