"""How many tokens a finished request used, read from the end of its answer. Pure.

OpenAI's `usage` (https://platform.openai.com/docs/api-reference/chat/object, and of
/v1/responses), Anthropic's (https://docs.anthropic.com/en/api/messages) and SGLang's `meta_info`
of /generate all end the answer, or the last event but `[DONE]`.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

from sglrouter.inner import scan_usage
from sglrouter.inner.ending import Used

#: Bytes of an answer's end that are looked at.
TAIL_BYTES = 4096
_MARKS = (b'"usage":', b'"meta_info":')
# An object whose members are no deeper than objects of plain values: enough for all three.
_OBJECT = re.compile(rb"\s*+(\{(?:[^{}]++|\{[^{}]*+\})*+\})")


class Usage(NamedTuple):
    """Tokens; `cached`: prompt tokens the engine had cached, None when it did not say."""

    prompt: int
    completion: int
    cached: int | None = None
    estimated: bool = False


def read_usage(tail: bytes) -> Used | None:
    """The usage in the last bytes of an answer (its chunk framing may be among them)."""
    found = scan_usage(tail)
    if found is not None:
        return found
    for mark in _MARKS:
        at = tail.rfind(mark)
        while at >= 0:
            usage = _usage(_object(tail, at + len(mark)))
            if usage is not None:
                return usage
            at = tail.rfind(mark, 0, at)  # e.g. `"usage": null` in the events after it
    return None


def estimate_usage(prompt_bytes: int, events: int) -> Usage:
    """What is counted for an answer that does not say: 4 bytes a token, a token an event."""
    return Usage(prompt_bytes // 4, events, None, estimated=True)


def _object(data: bytes, at: int) -> dict[str, Any]:
    match = _OBJECT.match(data, at)
    if match is None:
        return {}
    try:
        found = orjson.loads(match[1])
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _usage(document: dict[str, Any]) -> Usage | None:
    told = document.get
    prompt = told("prompt_tokens", told("input_tokens"))
    completion = told("completion_tokens", told("output_tokens"))
    details = told("prompt_tokens_details") or told("input_tokens_details")
    cached = told("cached_tokens", told("cache_read_input_tokens"))
    if isinstance(details, dict):
        cached = details.get("cached_tokens")
    prompt, completion = _count(prompt), _count(completion)
    if prompt is None and completion is None:
        return None
    return Usage(prompt or 0, completion or 0, _count(cached))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
