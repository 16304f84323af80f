"""What a client asks, and what became of it. Pure.

The stub engine's answer follows from the prompt, so a stream is held to its exact words: a token
that is lost, doubled or out of order is seen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum

from sglocal.stub_engine.openai_api import chat_prompt
from sglocal.stub_engine.tokens import encode, seed_of, words

#: `--random-seed` of the stub engine where nobody sets it.
_ENGINE_SEED = 0
_DONE = b"[DONE]"


class Outcome(StrEnum):
    """Only the first is right. TRUNCATED: begun and not ended; FAILED: no 200 at all."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    WRONG = "wrong tokens"
    FAILED = "failed"


@dataclass(frozen=True)
class Ask:
    """A chat completion of `tokens` tokens; `number` makes prompt and answer unique."""

    number: int
    tokens: int
    model: str

    @property
    def messages(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"Story number {self.number}, please."}]

    def body(self) -> bytes:
        document = {
            "model": self.model, "stream": True, "max_tokens": self.tokens, "ignore_eos": True,
            "stream_options": {"include_usage": True}, "messages": self.messages,
        }  # fmt: skip
        return json.dumps(document).encode()

    def expected(self) -> list[str]:
        """The words that the answer has, one to a token."""
        return words(seed_of(encode(chat_prompt(self.messages)), _ENGINE_SEED), self.tokens)


@dataclass
class Answer:
    """What a client saw. Times are of the wall clock, in seconds; 0 where there was none.

    `whole`: the message ended within its own framing. `error`: of the connection.
    """

    started_at: float
    head_at: float = 0.0
    ended_at: float = 0.0
    status: int = 0
    worker: str = ""
    router: str = ""
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    error: str = ""


def events(body: bytes) -> list[bytes]:
    """The data of each server-sent event, in order."""
    return [part[6:] for part in body.split(b"\n\n") if part.startswith(b"data: ")]


def judge(ask: Ask, answer: Answer) -> tuple[Outcome, str]:
    """The outcome, and for all but COMPLETE what was seen."""
    if answer.status != 200:
        said = bytes(answer.body[:300]).decode(errors="replace")
        return Outcome.FAILED, f"status {answer.status} {answer.error} {said}".strip()
    found = events(bytes(answer.body))
    if not answer.whole or not found or found[-1] != _DONE:
        end = bytes(answer.body[-300:]).decode(errors="replace")
        return Outcome.TRUNCATED, f"{answer.error} after {len(found)} events: …{end}"
    try:
        documents = [json.loads(data) for data in found[:-1]]
    except ValueError as error:
        return Outcome.WRONG, f"an event is no JSON: {error}"
    return _judge_tokens(ask, documents)


def _judge_tokens(ask: Ask, documents: list[dict[str, object]]) -> tuple[Outcome, str]:
    if broken := next((one for one in documents if "error" in one), None):
        return Outcome.TRUNCATED, f"an error event, then [DONE]: {broken}"
    told = [text for one in documents for text in _texts(one)]
    if told != (expected := ask.expected()):
        return Outcome.WRONG, f"{len(told)} tokens {told[:3]}…, not {len(expected)} {expected[:3]}…"
    usage = documents[-1].get("usage")
    counted = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if counted != ask.tokens:
        return Outcome.WRONG, f"the usage says {counted} tokens, not {ask.tokens}"
    return Outcome.COMPLETE, ""


def _texts(document: dict[str, object]) -> list[str]:
    """The text of an event's first choice; none where it has no content (role, end, usage)."""
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices:
        return []
    text = choices[0].get("delta", {}).get("content")
    return [text] if text else []
