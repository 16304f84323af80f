"""/v1/chat/completions, /v1/completions and /v1/models."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from sglocal.stub_engine import tokens
from sglocal.stub_engine.context import Engine, json_response, read_json
from sglocal.stub_engine.replies import Reply, RequestError, plan_reply, request_id
from sglocal.stub_engine.scheduler import Slot
from sglocal.stub_engine.streams import Outcome, complete, dump, event, stream, usage


class ChatEvents:
    """The events of one streamed chat completion or text completion."""

    def __init__(self, reply: Reply, head: dict[str, Any], chat: bool, tell_usage: bool) -> None:
        self._reply = reply
        self._head = head
        self._chat = chat
        self._tell_usage = tell_usage
        # Everything but the text is the same in every event: rendered once.
        marker = self._chunk({"content": "\0"} if chat else "\0", None)
        self._before, self._after = event(marker).split(dump("\0"))

    def _chunk(self, text: Any, finish: str | None) -> dict[str, Any]:
        stop = self._reply.matched_stop if finish and finish != "abort" else None
        body = {"delta": {"reasoning_content": None, **text}} if self._chat else {"text": text}
        choice = {"index": 0, **body, "logprobs": None, "finish_reason": finish,
                  "matched_stop": stop}  # fmt: skip
        return {**self._head, "choices": [choice]} | ({} if self._chat else {"usage": None})

    def token(self, index: int, _slot: Slot) -> bytes:
        pieces = self._reply.pieces
        if self._chat:
            first = event(self._chunk({"role": "assistant", "content": ""}, None))
            text = self._before + dump(pieces[index]) + self._after if pieces else b""
            return text if index else first + text
        if index + 1 >= len(pieces):  # the last token carries the reason
            return event(self._chunk(pieces[index] if pieces else "", self._reply.finish))
        return self._before + dump(pieces[index]) + self._after

    def last(self, outcome: Outcome) -> bytes:
        finish, data = outcome.reply.finish, b""
        if self._chat or finish == "abort":
            data = event(self._chunk({} if self._chat else "", finish))
        if self._tell_usage:
            told = usage([outcome], details=self._chat)
            data += event({**self._head, "choices": [], "usage": told})
        return data


def _sampling(body: dict[str, Any]) -> dict[str, Any]:
    if body.get("tool_choice") not in (None, "auto", "none"):
        raise RequestError("the stub engine cannot be made to call a tool")
    return body


def _max_tokens(body: dict[str, Any]) -> int | None:
    value = body.get("max_completion_tokens")
    value = body.get("max_tokens") if value is None else value
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise RequestError(f"max_tokens: expected a whole number, got {value!r}")
    if value is not None and value < 0:
        raise RequestError(f"max_new_tokens must be at least 0, got {value}.")
    return value


def _choices(body: dict[str, Any]) -> int:
    count = body.get("n")
    count = 1 if count is None else count
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 128:
        raise RequestError("n: expected a whole number from 1 to 128")
    return count


def _content_text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type") == "text"]
        parts = [text for text in texts if isinstance(text, str)]
        if len(parts) == len(content):
            return " ".join(parts)
        raise RequestError("the stub engine understands parts of type text only")
    raise RequestError("content: expected a string or a list of parts")


def chat_prompt(messages: Any) -> str:
    """The text of a conversation, in a ChatML-like template."""
    if not isinstance(messages, list):
        raise RequestError("messages: expected a list")
    if not messages:
        raise RequestError("Messages cannot be empty.")
    lines = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RequestError("messages: each needs a role and content")
        lines.append(f"<|{message['role']}|>\n{_content_text(message.get('content'))}\n")
    return "".join(lines) + "<|assistant|>\n"


def _text_prompts(prompt: Any) -> list[list[int]]:
    if isinstance(prompt, str):
        if not prompt:
            raise RequestError("Prompt cannot be empty")
        return [tokens.encode(prompt)]
    if isinstance(prompt, list) and prompt:
        if all(isinstance(item, int) for item in prompt):
            return [prompt]
        if all(isinstance(item, str) and item for item in prompt):
            return [tokens.encode(item) for item in prompt]
        if all(isinstance(i, list) and i and all(isinstance(x, int) for x in i) for i in prompt):
            return prompt
    if prompt in ([], None):
        raise RequestError("Prompt cannot be empty")
    raise RequestError("prompt: expected a string, token ids, or a list of either")


async def chat(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    body = await read_json(request, required="messages")
    prompt = tokens.encode(chat_prompt(body["messages"]))
    return await _answer(request, body, [prompt], chat=True)


async def text(request: web.Request) -> web.StreamResponse:
    """POST /v1/completions."""
    body = await read_json(request, required="prompt")
    prompts = _text_prompts(body["prompt"])
    return await _answer(request, body, prompts, chat=False)


async def _answer(
    request: web.Request, body: dict[str, Any], prompts: list[list[int]], *, chat: bool
) -> web.StreamResponse:
    engine = Engine.of(request)
    limit = _max_tokens(body)
    if limit is None and not chat:
        limit = 16  # as OpenAI's API says; the default of chat is the rest of the context
    if chat and limit is not None and limit > engine.options.context_length:
        raise RequestError(
            f"max_completion_tokens is too large: {limit}.This model supports at most"
            f" {engine.options.context_length} completion tokens."
        )
    sampling, count, rid = _sampling(body), _choices(body), request_id(body)
    replies = [
        plan_reply(engine.options, prompt, sampling, limit, rid)
        for prompt in prompts
        for _ in range(count)
    ]
    head: dict[str, Any] = {
        "id": rid,
        "object": "chat.completion" if chat else "text_completion",
        "created": int(time.time()),
        "model": body.get("model") or "default",
    }
    engine.faults_before_answer()
    if body.get("stream"):
        if len(replies) > 1:
            raise RequestError("the stub engine streams one choice of one prompt only")
        if chat:
            head["object"] = "chat.completion.chunk"
        tell = bool((body.get("stream_options") or {}).get("include_usage"))
        async with engine.meetings.pair(body, replies) as (reply, *_):
            events = ChatEvents(reply, head, chat, tell)
            return await stream(request, engine.scheduler, reply, events)
    async with engine.meetings.pair(body, replies) as paired:
        outcomes = await complete(engine.scheduler, paired)
    render = _chat_body if chat else _text_body(body)
    choices = [
        {"index": index, **render(reply), "logprobs": None, "finish_reason": reply.finish,
         "matched_stop": reply.matched_stop}
        for index, reply in enumerate(outcome.reply for outcome in outcomes)
    ]  # fmt: skip
    versions = [{"version": "default", "start": 0, "end": len(outcomes[0].reply.pieces)}]
    metadata = {"weight_version": "default", "weight_versions": versions}
    return json_response(
        {**head, "choices": choices, "usage": usage(outcomes), "metadata": metadata}
    )


def _chat_body(reply: Reply) -> dict[str, Any]:
    content = "".join(reply.pieces)
    return {"message": {"role": "assistant", "content": content, "reasoning_content": None}}


def _text_body(body: dict[str, Any]) -> Callable[[Reply], dict[str, Any]]:
    prompt = body["prompt"]
    echo = prompt if body.get("echo") and isinstance(prompt, str) else ""
    if body.get("echo") and not echo:
        raise RequestError("the stub engine echoes a single text prompt only")
    return lambda reply: {"text": echo + "".join(reply.pieces)}


def _model_card(engine: Engine) -> dict[str, Any]:
    name = engine.options.served_model_name
    return {
        "id": name,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "sglang",
        "root": name,
        "parent": None,
        "max_model_len": engine.options.context_length,
    }


async def models(request: web.Request) -> web.Response:
    """GET /v1/models."""
    return json_response({"object": "list", "data": [_model_card(Engine.of(request))]})


async def model(request: web.Request) -> web.Response:
    """GET /v1/models/{name}."""
    engine, name = Engine.of(request), request.match_info["name"]
    if name == engine.options.served_model_name:
        return json_response(_model_card(engine))
    error = {
        "message": f"The model '{name}' does not exist",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    return json_response({"error": error}, status=404)
