"""What the engine will answer to one request: decided before its first token."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sglocal.stub_engine import tokens
from sglocal.stub_engine.constraints import constrained_text
from sglocal.stub_engine.options import Options
from sglocal.stub_engine.regex_text import UnsupportedError


class RequestError(Exception):
    """A request SGLang refuses (or the stub cannot follow): an HTTP status and a message."""

    def __init__(self, message: str, status: int = 400, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind

    def document(self) -> dict[str, Any]:
        """SGLang's shape of an error of its OpenAI routes."""
        return {
            "object": "error",
            "message": self.message,
            "type": self.kind,
            "param": None,
            "code": self.status,
        }


@dataclass(frozen=True)
class Reply:
    """The pieces of text, one a token, and why they end (`matched_stop`: text or token id)."""

    prompt: Sequence[int]
    pieces: Sequence[str]
    finish: str
    matched_stop: str | int | None
    rid: str

    def aborted(self, produced: int) -> Reply:
        """This reply, ended by /abort_request after `produced` tokens."""
        return replace(self, pieces=self.pieces[:produced], finish="abort", matched_stop=None)

    @property
    def steps(self) -> int:
        """Tokens to wait for. An answer of no token still costs its prefill."""
        return max(1, len(self.pieces))


def request_id(body: dict[str, Any]) -> str:
    """The client's `rid`, or a new one."""
    return body["rid"] if isinstance(body.get("rid"), str) else uuid.uuid4().hex


def check_length(options: Options, prompt: Sequence[int], max_tokens: int | None) -> None:
    """Raise as SGLang does when prompt or answer do not fit the context."""
    limit = min(options.context_length, options.max_total_tokens)
    if len(prompt) >= limit:
        raise RequestError(
            f"The input ({len(prompt)} tokens) is longer than the model's context length"
            f" ({limit} tokens)."
        )
    if max_tokens is not None and len(prompt) + max_tokens > limit:
        raise RequestError(
            f"Requested token count exceeds the model's maximum context length of {limit} tokens."
            f" You requested a total of {len(prompt) + max_tokens} tokens: {len(prompt)} tokens"
            f" from the input messages and {max_tokens} tokens for the completion. Please reduce"
            " the number of tokens in the input messages or the completion to fit within the"
            " limit."
        )


def plan_reply(
    options: Options,
    prompt: Sequence[int],
    sampling: dict[str, Any],
    max_tokens: int | None,
    rid: str,
) -> Reply:
    """Decide the answer. `sampling` has `stop`, `ignore_eos` and constraints.

    Raises RequestError where the stub cannot satisfy a constraint.
    """
    check_length(options, prompt, max_tokens)
    room = min(options.context_length, options.max_total_tokens) - len(prompt)
    limit = room if max_tokens is None else max_tokens
    seed = tokens.seed_of(prompt, options.seed)
    try:
        text = constrained_text(sampling, seed)
    except UnsupportedError as error:
        raise RequestError(str(error)) from error
    if text is not None:
        pieces, natural = tokens.split(text), True
    else:
        length = limit if sampling.get("ignore_eos") else tokens.natural_length(seed)
        pieces, natural = tokens.words(seed, min(length, limit)), length <= limit
        natural = natural and not sampling.get("ignore_eos")
        if stopped := _stopped(pieces, sampling.get("stop")):
            return Reply(prompt, stopped[0], "stop", stopped[1], rid)
    if len(pieces) > limit or not natural:
        return Reply(prompt, pieces[:limit], "length", None, rid)
    return Reply(prompt, pieces, "stop", tokens.EOS_ID, rid)


def _stopped(pieces: Sequence[str], stop: Any) -> tuple[list[str], str] | None:
    """The pieces before the first stop string, and that string; None where none occurs."""
    wanted = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(wanted, list) or not all(isinstance(s, str) for s in wanted):
        raise RequestError("stop: expected a string or a list of strings")
    text = "".join(pieces)
    found = [(text.index(s), s) for s in wanted if s and s in text]
    if not found:
        return None
    end, which = min(found)
    kept: list[str] = []
    for piece in pieces:
        room = end - sum(map(len, kept))
        if room <= 0:
            break
        kept.append(piece[:room])
    return kept, which
