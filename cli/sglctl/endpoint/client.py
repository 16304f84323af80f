"""A thin client for the checks: requests with deadlines, and server-sent events."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from sglctl.endpoint.target import Target


class CheckFailedError(Exception):
    """A check saw something a client could not live with; the message says what."""


class CheckSkippedError(Exception):
    """The endpoint does not offer what the check looks at; the message says what is missing."""


def expect(condition: object, message: str) -> None:
    if not condition:
        raise CheckFailedError(message)


@dataclass
class Stream:
    """A finished SSE answer: its JSON events in order, and whether `[DONE]` came last."""

    events: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False
    worker: str | None = None

    def text(self) -> str:
        return "".join(delta_text(event) for event in self.events)

    def usage(self) -> dict[str, Any] | None:
        found = [e["usage"] for e in self.events if e.get("usage")]
        return found[-1] if found else None


def delta_text(event: Mapping[str, Any]) -> str:
    """The text one event adds (content, reasoning, or a completion's text)."""
    parts: list[str] = []
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or {}
        parts.append(
            delta.get("content") or delta.get("reasoning_content") or choice.get("text") or ""
        )
    return "".join(parts)


class EndpointClient:
    """One target, one connection pool. Every call has the target's timeout."""

    def __init__(self, target: Target, model: str = "", *, is_sglang: bool = False) -> None:
        self.target = target
        self.model = model
        self.is_sglang = is_sglang
        verify: ssl.SSLContext | bool = True
        if target.ca_file is not None:
            verify = ssl.create_default_context(cafile=str(target.ca_file))
        self.http = httpx.AsyncClient(
            base_url=target.base_url,
            timeout=target.timeout_s,
            verify=verify,
            trust_env=False,
            headers={"Authorization": f"Bearer {target.api_key}"} if target.api_key else {},
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
        )

    async def close(self) -> None:
        await self.http.aclose()

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(path)

    async def post(self, path: str, body: Mapping[str, Any], **kwargs: Any) -> httpx.Response:
        return await self.http.post(path, json=body, **kwargs)

    async def post_ok(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST, expect 200 and a JSON object."""
        response = await self.post(path, body)
        expect(
            response.status_code == 200,
            f"POST {path}: status {response.status_code}: {response.text[:200]}",
        )
        return as_object(response)

    def chat(self, content: str, *, max_tokens: int = 16, **extra: Any) -> dict[str, Any]:
        """A chat request's body; greedy, so that runs repeat."""
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": max_tokens,
            "temperature": 0,
            **extra,
        }

    @asynccontextmanager
    async def open_stream(
        self, path: str, body: Mapping[str, Any]
    ) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[str]]]:
        """An SSE answer as it arrives: the response and its `data:` payloads."""
        request = {**body, "stream": True, "stream_options": {"include_usage": True}}
        async with self.http.stream("POST", path, json=request) as response:
            if response.status_code != 200:
                text = (await response.aread()).decode(errors="replace")
                raise CheckFailedError(f"POST {path}: status {response.status_code}: {text[:200]}")
            kind = response.headers.get("content-type", "")
            expect("text/event-stream" in kind, f"content type {kind!r} is not text/event-stream")
            yield response, _payloads(response)

    async def stream(self, path: str, body: Mapping[str, Any]) -> Stream:
        """Read a whole SSE answer; fails on an error event or anything after `[DONE]`."""
        result = Stream()
        async with self.open_stream(path, body) as (response, payloads):
            result.worker = response.headers.get("x-sglctl-worker")
            async for payload in payloads:
                expect(not result.done, "an event came after [DONE]")
                if payload == "[DONE]":
                    result.done = True
                    continue
                event = json.loads(payload)
                expect("error" not in event, f"error event: {payload[:200]}")
                result.events.append(event)
        return result


async def _payloads(response: httpx.Response) -> AsyncIterator[str]:
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            yield line[5:].strip()


def as_object(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except json.JSONDecodeError:
        raise CheckFailedError(f"the answer is not JSON: {response.text[:200]!r}") from None
    expect(isinstance(document, dict), f"the answer is not a JSON object: {response.text[:200]}")
    return dict(document)
