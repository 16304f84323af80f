"""What the agent reads from an engine, from answers of a server that plays it."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sglworker.drain import Load, Reading
from sglworker.engine import Engine
from sglworker.errors import UnreachableError

_RANK = {"num_running_reqs": 1, "num_waiting_reqs": 2, "token_usage": 0.5, "cache_hit_rate": 0.4}


def ask(path: str, answer: Any, question: str) -> Any:
    """What `Engine.<question>()` says when the engine answers `answer` at `path`."""

    async def run() -> Any:
        async def handler(_request: web.Request) -> web.Response:
            return web.json_response(answer)

        app = web.Application()
        app.router.add_get(path, handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with aiohttp.ClientSession() as session:
                engine = Engine(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
                return await getattr(engine, question)()
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_adapters_are_the_cards_with_a_parent() -> None:
    """The model itself has none; names come sorted, so that a state changes only when they do."""
    cards = [
        {"id": "tiny", "parent": None},
        {"id": "sql", "parent": "tiny"},
        {"id": "chess", "parent": "tiny"},
    ]
    assert ask("/v1/models", {"data": cards}, "adapters") == ("chess", "sql")


@pytest.mark.parametrize("answer", [{"data": None}, {"models": []}, []])
def test_a_strange_list_of_models_is_not_an_empty_one(answer: Any) -> None:
    """A failure to read is no news: the last known adapters stay."""
    with pytest.raises(UnreachableError):
        ask("/v1/models", answer, "adapters")


@pytest.mark.parametrize(
    ("sizes", "total"),
    [((32,), 32), ((32, 16), 48), ((32, None), None)],
)
def test_the_batch_sizes_of_all_ranks_add_up(sizes: Any, total: int | None) -> None:
    """A rank that does not tell leaves the sum unknown, not too small."""
    ranks = [_RANK | ({} if size is None else {"max_running_requests": size}) for size in sizes]
    reading: Reading = ask("/v1/loads", {"loads": ranks}, "load")
    assert isinstance(reading, Load)
    assert reading.max_running_requests == total
