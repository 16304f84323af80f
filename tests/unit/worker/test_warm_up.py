"""The generations before ready: their shapes, and an engine that refuses some."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sglworker.engine import Engine
from sglworker.errors import UnreachableError, WorkerError
from sglworker.models import FleetDocument
from sglworker.warm_up import shapes, warm_up

FLEET: dict[str, Any] = {
    "environment": "dev", "fleet": "chat", "release": "1", "model": "tiny",
    "served_model_name": "tiny-chat", "context_length": 4096,
}  # fmt: skip


def fleet(**more: Any) -> FleetDocument:
    return FleetDocument.model_validate(FLEET | more)


@pytest.mark.parametrize(
    ("context", "chunk", "long"),
    [(4, None, 1), (512, None, 128), (131_072, None, 2176), (131_072, 8192, 8320),
     (16_384, 8192, 4096)],
)  # fmt: skip
def test_a_long_prompt_is_more_than_one_chunk_where_the_context_allows(
    context: int, chunk: int | None, long: int
) -> None:
    """At most a quarter of the context; no two prompts begin alike."""
    found = shapes(fleet(context_length=context, warm_up={"prompts": 62}), chunk)
    prompts = [shape.body["prompt"] for shape in found]
    assert len({prompt[0] for prompt in prompts}) == len(prompts) == 64
    assert {len(s.body["prompt"]) for s in found if s.name == "long"} == {long}
    assert max(len(s.body["prompt"]) for s in found if s.name != "long") <= 8


@pytest.mark.parametrize(
    ("role", "names"),
    [("regular", ["short", "long", "json_schema", "regex"]), ("prefill", ["short", "long"]),
     ("decode", ["short", "long"])],
)  # fmt: skip
def test_only_a_regular_worker_is_asked_for_constrained_output(role: str, names: list[str]) -> None:
    """The others name the peer that is not there."""
    found = shapes(fleet(role=role), None)
    assert [shape.name for shape in found] == names
    assert all(("bootstrap_host" in shape.body) is (role != "regular") for shape in found)


def warmed(refuse: Any) -> list[str]:
    """The shapes that took time on an engine that refuses the requests `refuse` names."""
    heard: list[str] = []

    async def completions(request: web.Request) -> web.Response:
        status = refuse(await request.json())
        return web.json_response({"usage": {"completion_tokens": 1}}, status=status)

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/v1/completions", completions)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with aiohttp.ClientSession() as session:
                engine = Engine(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
                await warm_up(engine, shapes(fleet(), None), 1.0, lambda n, _s: heard.append(n),
                              retry_s=0.01)  # fmt: skip
        finally:
            await runner.cleanup()

    asyncio.run(run())
    return heard


def test_an_engine_without_grammars_is_warmed_up_without_them() -> None:
    """Refused constrained output is no reason not to serve."""
    assert warmed(lambda body: 400 if "regex" in body else 200) == ["short", "long", "json_schema"]


def test_a_failed_generation_is_tried_again() -> None:
    """Once refused by 503, then answered: warmed up all the same."""
    answers = iter([503, 200, 503, 503, 200, 200, 200])
    expected = ["short", "long", "json_schema", "regex"]
    assert warmed(lambda _body: next(answers)) == expected


@pytest.mark.parametrize(("status", "error"), [(400, WorkerError), (503, UnreachableError)])
def test_an_engine_that_generates_nothing_is_not_warm(status: int, error: type[Exception]) -> None:
    """Refused: at once; failing: when the time is over."""
    with pytest.raises(error):
        warmed(lambda _body: status)
