"""An answer counts as whole only with every token, its end, and the asked model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.soak.outcomes import Outcome, Seen, judge
from tests.chaos.load import CompletionAsk

STREAM = CompletionAsk("one", 2, True, "p")
DOCUMENT = CompletionAsk("one", 2, False, "p")
DONE = b"data: [DONE]\n\n"


def event(finish: str | None = None, model: str = "one") -> bytes:
    return b"data: " + json.dumps(
        {"model": model, "choices": [{"text": " a", "finish_reason": finish}], "usage": None}
    ).encode() + b"\n\n"  # fmt: skip


def answer(tokens: int, **changed: Any) -> bytes:
    document = {"model": "one", "choices": [{"text": " a a", "finish_reason": "length"}],
                "usage": {"completion_tokens": tokens}}  # fmt: skip
    return json.dumps({**document, **changed}).encode()


CASES = {
    "a whole stream": (STREAM, event() + event("length") + DONE, Outcome.COMPLETE),
    "a stream without [DONE]": (STREAM, event() + event("length"), Outcome.SILENT),
    "a token missing": (STREAM, event("length") + DONE, Outcome.WRONG),
    "a stream whose last token does not say so": (STREAM, event() * 2 + DONE, Outcome.WRONG),
    "another model's stream": (STREAM, event(model="two") * 2 + DONE, Outcome.WRONG),
    "a whole document": (DOCUMENT, answer(2), Outcome.COMPLETE),
    "a document too short": (DOCUMENT, answer(1), Outcome.WRONG),
    "another model's document": (DOCUMENT, answer(2, model="two"), Outcome.WRONG),
    "a document without usage": (DOCUMENT, answer(2, usage=None), Outcome.WRONG),
}


@pytest.mark.parametrize("name", CASES)
def test_a_completion_is_judged_by_its_tokens(name: str) -> None:
    ask, body, expected = CASES[name]
    assert judge(ask, Seen(200, body)) == expected
