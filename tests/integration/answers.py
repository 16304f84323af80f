"""Answers of engines, made comparable: what differs between two equal requests is blanked."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

_NUMBER, _TEXT = rb"-?[0-9.]+(?:[eE][-+]?[0-9]+)?", rb'"(?:[^"\\]|\\.)*"'
#: Ids, times, and what was cached: values only; names, order and spaces stay as they came.
_VOLATILE = re.compile(
    rb'("(?:id|item_id|response_id|call_id|created|created_at|completed_at|e2e_latency|queue_time|'
    rb"first_token_latency|decode_throughput|request_received_ts|request_finished_ts|"
    rb"response_sent_to_client_ts|prefill_waiting_latency|prefill_launch_latency|"
    rb"cached_tokens|cache_read_input_tokens|input_tokens|cached_tokens_details)"
    rb'"\s*:\s*)(?:' + _NUMBER + rb"|" + _TEXT + rb"|null|\{[^{}]*\})"
)


def comparable(body: bytes) -> bytes:
    """The bytes of an answer with volatile values blanked."""
    return _VOLATILE.sub(rb"\1_", body)


@dataclass(frozen=True)
class Sse:
    """A stream of events as a client sees it; `broken`: cut inside its framing."""

    status: int
    worker: str
    events: tuple[str, ...]
    broken: bool

    @property
    def done(self) -> bool:
        return "[DONE]" in self.events

    @property
    def errors(self) -> list[dict[str, Any]]:
        found = [json.loads(event) for event in self.events if event != "[DONE]"]
        return [event["error"] for event in found if "error" in event]

    @property
    def text(self) -> str:
        return "".join(_texts(self.events))

    @property
    def complete(self) -> bool:
        return self.status == 200 and self.done and not self.errors and not self.broken


def _texts(events: tuple[str, ...]) -> Iterator[str]:
    for event in events:
        if event != "[DONE]":
            for choice in json.loads(event).get("choices", ()):
                yield (choice.get("delta") or {}).get("content") or choice.get("text") or ""


async def stream(
    client: httpx.AsyncClient,
    url: str,
    body: dict[str, Any],
    path: str = "/v1/chat/completions",
    begun: asyncio.Event | None = None,
) -> Sse:
    """Ask for a stream and read it to its end, whatever that is; `begun` is set by an event."""
    events: list[str] = []
    status, worker, broken = 0, "", False
    try:
        async with client.stream("POST", url + path, json=body | {"stream": True}) as response:
            status, worker = response.status_code, response.headers.get("x-sglctl-worker", "")
            if status != 200:
                return Sse(status, worker, ((await response.aread()).decode(),), broken)
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    events.append(line.removeprefix("data: "))
                    if begun is not None:
                        begun.set()
    except httpx.RemoteProtocolError:
        broken = True
    return Sse(status, worker, tuple(events), broken)


def cut_off(
    url: str, bodies: list[dict[str, Any]], kill: Callable[[], None], timeout_s: float, begun: int
) -> list[Sse]:
    """Stream all at once, `kill` when `begun` of them have begun, and give what became of each."""

    async def run() -> list[Sse]:
        firsts = [asyncio.Event() for _ in bodies]
        limits = httpx.Limits(max_connections=len(bodies))
        async with httpx.AsyncClient(timeout=timeout_s, limits=limits, trust_env=False) as client:
            asked = [
                asyncio.create_task(stream(client, url, body, begun=first))
                for body, first in zip(bodies, firsts, strict=True)
            ]
            for first in asyncio.as_completed([f.wait() for f in firsts], timeout=timeout_s):
                await first
                if sum(f.is_set() for f in firsts) >= begun:
                    break
            kill()
            return list(await asyncio.gather(*asked))

    return asyncio.run(run())
