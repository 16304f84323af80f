"""Checks of the plain surface: health, models, chat, completion, streaming, errors."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any
from urllib.parse import urlsplit

import httpx

from sglctl.endpoint.client import (
    CheckFailedError,
    CheckSkippedError,
    EndpointClient,
    as_object,
    expect,
)


async def health(client: EndpointClient) -> str:
    """GET /health answers 200."""
    response = await client.get("/health")
    expect(response.status_code == 200, f"status {response.status_code}: {response.text[:200]}")
    return "200"


async def models(client: EndpointClient) -> str:
    """GET /v1/models lists the model."""
    response = await client.get("/v1/models")
    expect(response.status_code == 200, f"status {response.status_code}: {response.text[:200]}")
    document = as_object(response)
    expect(document.get("object") == "list", f"object is {document.get('object')!r}, not 'list'")
    ids = [m.get("id") for m in document.get("data", [])]
    expect(client.model in ids, f"{client.model!r} is not among {ids}")
    return ", ".join(map(str, ids))


def _check_usage(usage: dict[str, Any] | None) -> int:
    expect(usage, "no usage in the answer")
    usage = usage or {}
    prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    expect(prompt > 0 and completion > 0, f"usage counts nothing: {usage}")
    expect(usage.get("total_tokens") == prompt + completion, f"usage does not add up: {usage}")
    return int(completion)


async def chat(client: EndpointClient) -> str:
    """A chat completion has a message, a finish reason and usage that adds up."""
    answer = await client.post_ok("/v1/chat/completions", client.chat("Say hello."))
    choice = answer["choices"][0]
    expect(choice["message"]["role"] == "assistant", f"role {choice['message'].get('role')!r}")
    expect(choice["finish_reason"] in ("stop", "length"), f"finish {choice['finish_reason']!r}")
    return f"{_check_usage(answer.get('usage'))} tokens, finish {choice['finish_reason']}"


async def completion(client: EndpointClient) -> str:
    """A text completion has text, a finish reason and usage."""
    body = {"model": client.model, "prompt": "Once upon a time", "max_tokens": 16, "temperature": 0}
    answer = await client.post_ok("/v1/completions", body)
    expect(isinstance(answer["choices"][0]["text"], str), "no text in the first choice")
    return f"{_check_usage(answer.get('usage'))} tokens"


async def streaming(client: EndpointClient) -> str:
    """A stream has its events in order, usage, and [DONE] last."""
    result = await client.stream(
        "/v1/chat/completions", client.chat("Count to ten.", max_tokens=24)
    )
    expect(result.done, "the stream ended without [DONE]")
    finishes = [
        i
        for i, event in enumerate(result.events)
        for choice in event.get("choices") or []
        if choice.get("finish_reason")
    ]
    expect(len(finishes) == 1, f"{len(finishes)} finish reasons in one stream")
    late = [e for e in result.events[finishes[0] + 1 :] if e.get("choices")]
    expect(not late, "tokens came after the finish reason")
    tokens = _check_usage(result.usage())
    ids = {e.get("id") for e in result.events}
    expect(len(ids) == 1, f"the stream changes its id: {sorted(map(str, ids))[:3]}")
    return f"{len(result.events)} events, {tokens} tokens"


def _expect_error(response: httpx.Response, statuses: tuple[int, ...]) -> str:
    expect(
        response.status_code in statuses,
        f"status {response.status_code}, expected {' or '.join(map(str, statuses))}: "
        f"{response.text[:160]}",
    )
    document = as_object(response)
    error = document.get("error", document)
    message = error.get("message") if isinstance(error, dict) else None
    expect(message, f"no message in the error: {response.text[:160]}")
    return f"{response.status_code}: {str(message)[:80]}"


async def malformed_json(client: EndpointClient) -> str:
    """Malformed JSON is a 400 with a message."""
    response = await client.http.post(
        "/v1/chat/completions",
        content=b'{"model": ',
        headers={"content-type": "application/json"},
    )
    return _expect_error(response, (400, 422))


async def unknown_model(client: EndpointClient) -> str:
    """An unknown model is a 404 (or 400) with a message."""
    body = {**client.chat("hi"), "model": "no-such-model-here"}
    response = await client.post("/v1/chat/completions", body)
    return _expect_error(response, (404, 400))


async def empty_messages(client: EndpointClient) -> str:
    """An empty list of messages is a 400."""
    body = {**client.chat("hi"), "messages": []}
    return _expect_error(await client.post("/v1/chat/completions", body), (400, 422))


async def wrong_key(client: EndpointClient) -> str:
    """A wrong key is a 401, and no key too."""
    if client.target.api_key is None:
        raise CheckSkippedError("tested without a key (give --api-key)")
    for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}):
        response = await client.post("/v1/chat/completions", client.chat("hi"), headers=headers)
        seen = _expect_error(response, (401, 403))
    return seen


async def oversized_body(client: EndpointClient) -> str:
    """A body announced as 1 TB is refused with 413 before it is read."""
    probe = await client.post("/v1/chat/completions", client.chat("hi", max_tokens=1))
    if "x-sglctl-worker" not in probe.headers:
        raise CheckSkippedError("the endpoint is not an sglctl router")
    status = await _announce(client, 1 << 40)
    expect(status == 413, f"status {status}, expected 413")
    return "413"


async def _announce(client: EndpointClient, length: int) -> int:
    """Send a request's head with a huge Content-Length and no body; the answer's status."""
    parts = urlsplit(client.target.base_url)
    secure = parts.scheme == "https"
    context = (
        ssl.create_default_context(cafile=str(client.target.ca_file))
        if secure and client.target.ca_file
        else (ssl.create_default_context() if secure else None)
    )
    port = parts.port or (443 if secure else 80)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {client.target.api_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    async with asyncio.timeout(client.target.timeout_s):
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
        try:
            writer.write(head.encode() + b"{")
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
    words = line.split()
    if len(words) < 2:
        raise CheckFailedError(f"the connection was closed without an answer ({line!r})")
    return int(words[1])
