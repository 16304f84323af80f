"""Clients that stream, for tests in which something happens to the fleet meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Streamed:
    """One finished stream: complete when `[DONE]` came last and no error event did."""

    worker: str
    tokens: int
    done: bool
    error: str = ""

    @property
    def complete(self) -> bool:
        return self.done and not self.error


async def stream(client: httpx.AsyncClient, url: str, body: Mapping[str, Any]) -> Streamed:
    """Stream one chat completion to its end."""
    worker, tokens, done, error = "", 0, False, ""
    try:
        async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
            worker = response.headers.get("x-sglctl-worker", "")
            if response.status_code != 200:
                return Streamed(worker, 0, False, (await response.aread()).decode())
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data:"):
                    event = json.loads(line[5:])
                    error = error or json.dumps(event["error"]) if "error" in event else error
                    tokens += bool(event.get("choices"))
    except httpx.HTTPError as failure:
        error = repr(failure)
    return Streamed(worker, tokens, done, error)


async def streams(url: str, key: str, count: int, tokens: int, model: str) -> list[Streamed]:
    """`count` streams at once, each of `tokens` tokens."""
    limits = httpx.Limits(max_connections=count)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        timeout=120, headers=headers, limits=limits, trust_env=False
    ) as client:
        bodies = [
            {
                "model": model, "stream": True, "max_tokens": tokens, "ignore_eos": True,
                "messages": [{"role": "user", "content": f"Story number {i}."}],
            }
            for i in range(count)
        ]  # fmt: skip
        return list(await asyncio.gather(*(stream(client, url, body) for body in bodies)))
