"""Checks of what an LLM endpoint is chosen for: constraints, prefixes, context, cancellation."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from sglctl.endpoint.client import (
    CheckFailedError,
    CheckSkippedError,
    EndpointClient,
    expect,
)

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "sunny": {"type": "boolean"},
        "degrees": {"type": "integer", "minimum": 0, "maximum": 40},
    },
    "required": ["city", "sunny", "degrees"],
    "additionalProperties": False,
}
_DATE = r"20[0-9]{2}-[01][0-9]-[0-3][0-9]"
#: The longest context asked for: enough to cross chunked prefill, cheap on any GPU.
_CONTEXT_CAP_TOKENS = 16_384
#: Long enough to be still running when it is cancelled, on any engine.
_LONG_STREAM_TOKENS = 8_000
_PACE_TOKENS = 128
#: How old a load may be (agents read the engine's about once a second), and how soon a
#: cancelled request must be gone.
_LOAD_AGE_S, _FREE_S = 3.0, 5.0
_REPEATS = 8
_STREAMS = 8


async def json_schema(client: EndpointClient) -> str:
    """response_format json_schema gives JSON that fits the schema."""
    body = client.chat(
        "Weather as JSON.",
        max_tokens=200,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "weather", "strict": True, "schema": _SCHEMA},
        },
    )
    answer = await client.post_ok("/v1/chat/completions", body)
    content = answer["choices"][0]["message"]["content"]
    try:
        value = json.loads(content)
    except (TypeError, json.JSONDecodeError):
        raise CheckFailedError(f"not JSON: {content!r}") from None
    types = {"city": str, "sunny": bool, "degrees": int}
    expect(set(value) == set(types), f"keys {sorted(value)} are not {sorted(types)}")
    wrong = [k for k, kind in types.items() if not isinstance(value[k], kind)]
    expect(not wrong, f"wrong types of {wrong}: {content}")
    return str(content).replace("\n", " ")[:60]


async def regex(client: EndpointClient) -> str:
    """SGLang's `regex` field constrains the output."""
    if not client.is_sglang:
        raise CheckSkippedError("the endpoint is not SGLang (owned_by in /v1/models)")
    body = client.chat("A date.", max_tokens=32, regex=_DATE)
    answer = await client.post_ok("/v1/chat/completions", body)
    content = answer["choices"][0]["message"]["content"]
    expect(re.fullmatch(_DATE, content), f"{content!r} does not match {_DATE}")
    return str(content)


def _cached_tokens(answer: dict[str, Any]) -> int | None:
    details = (answer.get("usage") or {}).get("prompt_tokens_details")
    return None if details is None else int(details.get("cached_tokens") or 0)


async def shared_prefix(client: EndpointClient) -> str:
    """A prompt sent again is served from the prefix cache (cached tokens rise)."""
    prompt = f"{secrets.token_hex(8)} " + "the quick brown fox jumps over the lazy dog " * 20
    first: int | None = None
    for attempt in range(_REPEATS):
        answer = await client.post_ok("/v1/chat/completions", client.chat(prompt, max_tokens=1))
        cached, total = _cached_tokens(answer), int(answer["usage"]["prompt_tokens"])
        if first is None:
            first = cached or 0
            continue
        if cached is not None and cached > first and cached >= total // 2:
            return f"{first} → {cached} of {total} tokens cached at repeat {attempt}"
    if first == 0 and cached is None:
        raise CheckSkippedError("the endpoint reports no cached tokens")
    raise CheckFailedError(f"{_REPEATS - 1} repeats, never more than {cached} of {total} cached")


async def _context_length(client: EndpointClient) -> int | None:
    """`max_model_len` of the model, where the endpoint tells it."""
    listing = (await client.get("/v1/models")).json()
    found = [m.get("max_model_len") for m in listing["data"] if m["id"] == client.model]
    return int(found[0]) if found and found[0] else None


async def long_context(client: EndpointClient) -> str:
    """A prompt of most of the context is answered, and one beyond it is refused."""
    limit = await _context_length(client)
    if not limit:
        raise CheckSkippedError("/v1/models does not tell max_model_len")
    words = 64
    probe = await client.post_ok("/v1/chat/completions", client.chat("word " * words, max_tokens=1))
    per_word = max(1.0, int(probe["usage"]["prompt_tokens"]) / words)
    wanted = min(limit * 7 // 10, _CONTEXT_CAP_TOKENS)
    body = client.chat("word " * int(wanted / per_word), max_tokens=4)
    answer = await client.post_ok("/v1/chat/completions", body)
    seen = int(answer["usage"]["prompt_tokens"])
    expect(seen >= wanted // 2, f"only {seen} of about {wanted} prompt tokens were counted")
    if limit <= _CONTEXT_CAP_TOKENS:
        beyond = client.chat("word " * (limit * 3 // 2), max_tokens=4)
        response = await client.post("/v1/chat/completions", beyond)
        expect(response.status_code in (400, 413), f"beyond {limit}: {response.status_code}")
    return f"{seen} prompt tokens of {limit}"


async def _in_flight(client: EndpointClient, worker: str | None) -> int:
    """Requests on a worker; CheckSkippedError where nobody tells."""
    if client.target.in_flight is not None and worker:
        return await asyncio.to_thread(client.target.in_flight, worker)
    response = await client.get("/v1/loads")
    if response.status_code != 200:
        raise CheckSkippedError("the endpoint does not tell its load (no /v1/loads)")
    loads = response.json().get("loads", [])
    return sum(int(x.get("num_running_reqs", 0)) + int(x.get("num_waiting_reqs", 0)) for x in loads)


async def cancellation(client: EndpointClient) -> str:
    """Closing a stream frees the worker long before the stream would have ended."""
    limit = await _context_length(client) or _LONG_STREAM_TOKENS
    tokens = min(limit * 7 // 10, _LONG_STREAM_TOKENS)
    prompt = "Tell a very long story."
    endless = {"ignore_eos": True} if client.is_sglang else {}
    loop = asyncio.get_running_loop()
    started = loop.time()
    short = client.chat(prompt, max_tokens=_PACE_TOKENS, **endless)
    usage = (await client.stream("/v1/chat/completions", short)).usage() or {}
    pace_s = (loop.time() - started) / max(1, int(usage.get("completion_tokens", 1)))
    body = client.chat(prompt, max_tokens=tokens, **endless)
    async with client.open_stream("/v1/chat/completions", body) as (response, payloads):
        worker = response.headers.get("x-sglctl-worker")
        await anext(payloads)
        started = loop.time()
        busy = await _until(client, worker, lambda n: n >= 1, started + _LOAD_AGE_S)
        expect(busy is not None, "the worker did not report the running stream")
    closed = loop.time()
    freed = await _until(client, worker, lambda n: n < (busy or 1), closed + _FREE_S)
    expect(freed is not None, f"{_FREE_S:.0f} s after closing, {busy} requests still run")
    # Half: the short stream's pace includes its prefill.
    sooner = loop.time() - started < pace_s * tokens / 2
    expect(sooner, f"{tokens} tokens may have ended by themselves: nothing is shown")
    return f"freed within {loop.time() - closed:.1f} s of {pace_s * tokens:.0f} s"


async def _until(
    client: EndpointClient,
    worker: str | None,
    satisfied: Callable[[int], bool],
    deadline: float,
) -> int | None:
    """The worker's load once it satisfies; None at the deadline. Agents read it each second."""
    loop = asyncio.get_running_loop()
    while True:
        load = await _in_flight(client, worker)
        if satisfied(load):
            return load
        if loop.time() > deadline:
            return None
        await asyncio.sleep(0.1)


async def concurrent_streams(client: EndpointClient) -> str:
    """Streams at once all complete, each with [DONE]."""
    jobs = [
        client.stream("/v1/chat/completions", client.chat(f"Story {i}.", max_tokens=32))
        for i in range(_STREAMS)
    ]
    results = await asyncio.gather(*jobs)
    cut = sum(not r.done for r in results)
    expect(not cut, f"{cut} of {_STREAMS} streams ended without [DONE]")
    workers = {r.worker for r in results if r.worker}
    return f"{_STREAMS} streams" + (f" on {len(workers)} workers" if workers else "")
