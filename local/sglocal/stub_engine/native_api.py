"""POST /generate, SGLang's own way to ask."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from sglocal.stub_engine import tokens
from sglocal.stub_engine.context import Engine, json_response, read_json
from sglocal.stub_engine.replies import Reply, RequestError, plan_reply, request_id
from sglocal.stub_engine.scheduler import Slot
from sglocal.stub_engine.streams import Outcome, complete, event, stream

_DEFAULT_NEW_TOKENS = 128


class _NativeError(RequestError):
    def document(self) -> dict[str, Any]:
        return {"error": {"message": self.message}}


def _prompts(body: dict[str, Any]) -> tuple[list[list[int]], bool]:
    """The prompts of a /generate request, and whether they came as a list."""
    text, ids = body.get("text"), body.get("input_ids")
    if isinstance(text, str):
        return [tokens.encode(text)], False
    if isinstance(text, list) and text and all(isinstance(item, str) for item in text):
        return [tokens.encode(item) for item in text], True
    if isinstance(ids, list) and ids and all(isinstance(item, int) for item in ids):
        return [ids], False
    if isinstance(ids, list) and ids and all(isinstance(item, list) and item for item in ids):
        return ids, True
    raise _NativeError("Either text, input_ids or input_embeds should be provided.")


def _meta(reply: Reply, cached: int, produced: int) -> dict[str, Any]:
    return {
        "id": reply.rid,
        "finish_reason": None,
        "prompt_tokens": len(reply.prompt),
        "weight_version": "default",
        "num_retractions": 0,
        "queue_time": 0.0,
        "reasoning_tokens": 0,
        "completion_tokens": produced,
        "cached_tokens": cached,
        "cached_tokens_details": {"device": cached, "host": 0} if cached else None,
        "dp_rank": None,
        "response_sent_to_client_ts": time.time(),
    }


def _finish(reply: Reply) -> dict[str, Any]:
    if reply.finish == "abort":
        return {"type": "abort", "message": "Aborted by AbortReq."}
    if reply.finish == "length":
        return {"type": "length", "length": len(reply.pieces)}
    return {"type": "stop", "matched": reply.matched_stop}


def _final(outcome: Outcome) -> dict[str, Any]:
    reply = outcome.reply
    offset = time.time() - time.monotonic()  # the scheduler's clock is monotonic
    spent = outcome.last_at - outcome.first_at
    count = len(reply.pieces)
    meta = _meta(reply, outcome.cached_tokens, count) | {
        "finish_reason": _finish(reply),
        "queue_time": outcome.admitted_at - outcome.received_at,
        "weight_versions": [{"version": "default", "start": 0, "end": count}],
        "e2e_latency": outcome.last_at - outcome.received_at,
        "request_received_ts": outcome.received_at + offset,
        "first_token_latency": outcome.first_at - outcome.received_at,
        "request_finished_ts": outcome.last_at + offset,
        "decode_throughput": (count - 1) / spent if spent > 0 else 0.0,
    }
    return {"text": "".join(reply.pieces), "output_ids": _ids(reply.pieces), "meta_info": meta}


def _ids(pieces: Any) -> list[int]:
    return [token for piece in pieces for token in tokens.encode(piece)[:1]]


class _GenerateEvents:
    """Events of a streamed /generate: each has the whole text so far."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def token(self, index: int, slot: Slot) -> bytes:
        if index + 1 >= self._reply.steps:
            return event(_final(Outcome.of(self._reply, slot)))
        so_far = self._reply.pieces[: index + 1]
        meta = _meta(self._reply, slot.cached_tokens, index + 1)
        return event({"text": "".join(so_far), "output_ids": _ids(so_far), "meta_info": meta})

    def last(self, outcome: Outcome) -> bytes:
        return event(_final(outcome)) if outcome.reply.finish == "abort" else b""


async def generate(request: web.Request) -> web.StreamResponse:
    """POST /generate."""
    engine, body = Engine.of(request), await read_json(request)
    prompts, many = _prompts(body)
    sampling = body.get("sampling_params") or {}
    if not isinstance(sampling, dict):
        raise _NativeError("the stub engine takes one sampling_params for all prompts")
    limit = sampling.get("max_new_tokens", _DEFAULT_NEW_TOKENS)
    if limit is not None and (not isinstance(limit, int) or limit < 0):
        raise _NativeError(f"max_new_tokens must be at least 0, got {limit}.")
    if sampling.get("n", 1) != 1:
        raise _NativeError("the stub engine gives one answer a prompt here")
    try:
        replies = [
            plan_reply(engine.options, prompt, sampling, limit, request_id({} if many else body))
            for prompt in prompts
        ]
    except RequestError as error:
        raise _NativeError(error.message) from error
    engine.faults_before_answer()
    if body.get("stream"):
        if many:
            raise _NativeError("the stub engine streams one prompt only")
        async with engine.meetings.pair(body, replies) as (reply, *_):
            return await stream(request, engine.scheduler, reply, _GenerateEvents(reply))
    async with engine.meetings.pair(body, replies) as paired:
        outcomes = await complete(engine.scheduler, paired)
    answers = [_final(outcome) for outcome in outcomes]
    return json_response(answers if many else answers[0])
