"""Run replies on the scheduler, as one document or as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from sglocal.stub_engine.replies import Reply
from sglocal.stub_engine.scheduler import Scheduler, Slot

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Outcome:
    """A finished request's accounts. Times in seconds of the monotonic clock."""

    reply: Reply
    cached_tokens: int
    received_at: float
    admitted_at: float
    first_at: float
    last_at: float

    @classmethod
    def of(cls, reply: Reply, slot: Slot) -> Outcome:
        first = slot.first_at if slot.first_at is not None else slot.last_at
        return cls(
            reply, slot.cached_tokens, slot.received_at, slot.admitted_at, first, slot.last_at
        )


def usage(outcomes: Sequence[Outcome], *, details: bool = True) -> dict[str, Any]:
    """SGLang's usage: choices of one prompt count it once, prompts of a list add up."""
    prompts = {id(outcome.reply.prompt): len(outcome.reply.prompt) for outcome in outcomes}
    prompt, completion = sum(prompts.values()), sum(len(o.reply.pieces) for o in outcomes)
    cached = {id(outcome.reply.prompt): outcome.cached_tokens for outcome in outcomes}
    document: dict[str, Any] = {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": sum(cached.values())},
        "reasoning_tokens": 0,
    }
    return document | ({"completion_tokens_details": None} if details else {})


async def complete(scheduler: Scheduler, replies: Sequence[Reply]) -> list[Outcome]:
    """Run all replies at once; a cancelled request frees all its slots."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_complete_one(scheduler, reply)) for reply in replies]
    return [task.result() for task in tasks]


async def _complete_one(scheduler: Scheduler, reply: Reply) -> Outcome:
    async with scheduler.slot(reply.rid, reply.prompt, reply.steps, streaming=False) as slot:
        for index in range(reply.steps):
            if not await slot.step():
                return Outcome.of(reply.aborted(index), slot)
        return Outcome.of(reply, slot)


class Events(Protocol):
    """How one API words its stream."""

    def token(self, index: int, slot: Slot) -> bytes:
        """The events of a token."""

    def last(self, outcome: Outcome) -> bytes:
        """The events after the last token."""


async def stream(
    request: web.Request,
    scheduler: Scheduler,
    reply: Reply,
    events: Events,
) -> web.StreamResponse:
    """Send the events of each token, those after the last one, and [DONE].

    The status line is sent with the first token, as SGLang does: before it a failure of the
    engine is a failed request, not a broken stream.
    """
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    async with scheduler.slot(reply.rid, reply.prompt, reply.steps, streaming=True) as slot:
        outcome: Outcome | None = None
        for index in range(reply.steps):
            alive = await slot.step()
            if index == 0:
                await response.prepare(request)
            if not alive:
                outcome = Outcome.of(reply.aborted(index), slot)
                break
            await response.write(events.token(index, slot))
        outcome = outcome or Outcome.of(reply, slot)
    await response.write(events.last(outcome) + DONE)
    await response.write_eof()
    return response


def event(document: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + dump(document) + b"\n\n"


def dump(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
