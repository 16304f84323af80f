"""A client that misses nothing: what it was told, what it was not told, and how it ended."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks.streams.ask import Answer, Ask, Outcome, events, judge
from benchmarks.streams.client import Target, stream
from benchmarks.streams.load import Load, Shape
from sglocal.stub_engine.app import make_app
from sglocal.stub_engine.options import Options

ASK = Ask(number=7, tokens=5, model="tiny")


def body(words: list[str], *, counted: int | None = None, done: bool = True) -> bytearray:
    documents: list[object] = [
        {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
        *({"choices": [{"delta": {"content": word}}]} for word in words),
        {"choices": [], "usage": {"completion_tokens": len(words) if counted is None else counted}},
    ]
    text = "".join(f"data: {json.dumps(one)}\n\n" for one in documents)
    return bytearray((text + ("data: [DONE]\n\n" if done else "")).encode())


def answer(data: bytearray, *, status: int = 200, whole: bool = True) -> Answer:
    return Answer(0.0, status=status, body=data, whole=whole)


WORDS = ASK.expected()


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (answer(body(WORDS)), Outcome.COMPLETE),
        (answer(body(WORDS), whole=False), Outcome.TRUNCATED),
        (answer(body(WORDS, done=False)), Outcome.TRUNCATED),
        (answer(body(WORDS)[:40], whole=False), Outcome.TRUNCATED),
        (answer(bytearray()), Outcome.TRUNCATED),
        (answer(bytearray(b'data: {"error":{}}\n\ndata: [DONE]\n\n')), Outcome.TRUNCATED),
        (answer(body(WORDS[:-1], counted=5)), Outcome.WRONG),
        (answer(body([*WORDS[1:], WORDS[0]])), Outcome.WRONG),
        (answer(body([*WORDS, WORDS[-1]])), Outcome.WRONG),
        (answer(body(WORDS, counted=4)), Outcome.WRONG),
        (answer(bytearray(b"data: {\n\ndata: [DONE]\n\n")), Outcome.WRONG),
        (answer(bytearray(b"no"), status=503), Outcome.FAILED),
        (answer(bytearray(), status=0, whole=False), Outcome.FAILED),
    ],
)
def test_only_the_exact_answer_to_its_end_is_complete(seen: Answer, outcome: Outcome) -> None:
    assert judge(ASK, seen)[0] is outcome


def test_events_are_the_data_in_order() -> None:
    assert events(b"data: a\n\n: comment\n\ndata: b\n\n") == [b"a", b"b"]


def run(app: web.Application, go: Callable[[Target], Awaitable[None]]) -> None:
    async def inner() -> None:
        async with TestServer(app) as server:
            assert server.port is not None
            await go(Target("127.0.0.1", server.port, "key"))

    asyncio.run(inner())


def stub(itl_s: float = 0.002) -> web.Application:
    return make_app(Options(model_path="none", served_model_name="tiny", itl_s=itl_s))


def test_the_stub_engines_own_streams_are_complete() -> None:
    async def go(target: Target) -> None:
        seen = await stream(target, ASK, 10)
        assert judge(ASK, seen) == (Outcome.COMPLETE, "")
        assert seen.started_at <= seen.head_at <= seen.ended_at

    run(stub(), go)


def test_a_load_keeps_its_places_filled_until_it_is_told_to_finish() -> None:
    async def go(target: Target) -> None:
        load = Load(target, Shape(at_once=5, tokens=4, itl_s=0.002, model="tiny"))
        running = asyncio.create_task(load.run())
        await load.full()
        await load.ended(12)
        load.finish()
        await running
        assert load.most_open == 5
        assert load.open == 0
        assert len(load.records) >= 12
        assert {record.outcome for record in load.records} == {Outcome.COMPLETE}

    run(stub(), go)


def test_a_refused_connection_is_a_failed_stream() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        target = Target("127.0.0.1", taken.getsockname()[1], "key")
        seen = asyncio.run(stream(target, ASK, 10))
    assert judge(ASK, seen)[0] is Outcome.FAILED
    assert "refused" in seen.error.lower()


def test_a_connection_that_is_cut_is_a_truncated_stream() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(body(WORDS, done=False))
        assert request.transport is not None
        request.transport.abort()
        return response

    async def go(target: Target) -> None:
        assert judge(ASK, await stream(target, ASK, 10))[0] is Outcome.TRUNCATED

    app = web.Application()
    app.router.add_post("/v1/chat/completions", cut)
    run(app, go)


def test_a_stream_that_never_ends_is_given_up() -> None:
    async def go(target: Target) -> None:
        seen = await stream(target, ASK, 0.05)
        assert judge(ASK, seen)[0] is not Outcome.COMPLETE
        assert "not over within" in seen.error

    run(stub(itl_s=60.0), go)
