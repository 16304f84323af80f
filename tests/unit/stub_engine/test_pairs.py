"""A prefill and a decode stub serve one request together, and only if both got the same one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from sglocal.stub_engine.app import start
from sglocal.stub_engine.context import Engine
from sglocal.stub_engine.options import Options


class Pair:
    """Two running stubs and a client."""

    def __init__(self, urls: dict[str, str], port: int, session: aiohttp.ClientSession) -> None:
        self.urls, self.port, self.session = urls, port, session
        self.engines: dict[str, Engine] = {}

    def meeting(self) -> dict[str, Any]:
        """The three fields a router adds."""
        return {"bootstrap_host": "127.0.0.1", "bootstrap_port": self.port,
                "bootstrap_room": random.getrandbits(62)}  # fmt: skip

    async def ask(self, role: str, body: dict[str, Any], path: str = "/v1/completions") -> Any:
        async with self.session.post(self.urls[role] + path, json=body) as response:
            return response.status, await response.text()

    async def both(self, body: dict[str, Any], path: str = "/v1/completions") -> Any:
        """(prefill's, decode's) status and text."""
        return await asyncio.gather(*(self.ask(role, body, path) for role in ("prefill", "decode")))


def with_pair(test: Callable[[Pair], Awaitable[None]]) -> None:
    async def run() -> None:
        port = random.randint(20_000, 32_000)  # below the ephemeral ports: nobody's by chance
        runners, urls, engines = [], {}, {}
        try:
            for role in ("prefill", "decode", "regular"):
                mode: Any = "null" if role == "regular" else role
                options = Options(
                    "m", "tiny", port=0, itl_s=0.001, disaggregation_mode=mode, bootstrap_port=port
                )
                runner, own = await start(options)
                runners.append(runner)
                urls[role], engines[role] = f"http://127.0.0.1:{own}", runner.app[Engine.KEY]
            async with aiohttp.ClientSession() as session:
                pair = Pair(urls, port, session)
                pair.engines = engines
                await asyncio.wait_for(test(pair), 20)
        finally:
            for runner in runners:
                await runner.cleanup()

    asyncio.run(run())


_TEXT = {"model": "tiny", "prompt": "once upon", "max_tokens": 9, "ignore_eos": True}
_LIST = _TEXT | {"prompt": ["one", "two"]}
_CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/completions", _TEXT), ("/v1/completions", _LIST), ("/v1/chat/completions", _CHAT),
     ("/v1/completions", _TEXT | {"stream": True}),
     ("/generate", {"text": "once", "sampling_params": {"max_new_tokens": 5}})],
)  # fmt: skip
def test_the_pair_answers_what_one_engine_answers(path: str, body: dict[str, Any]) -> None:
    """The decode worker's text is a regular worker's; the prefill worker's is its first token."""

    async def serve(pair: Pair) -> None:
        (first, _), (status, text) = await pair.both(body | pair.meeting(), path)
        _, alone = await pair.ask("regular", body, path)
        assert (first, status) == (200, 200)
        assert _texts(text) == _texts(alone)
        assert not any(engine.scheduler.running for engine in pair.engines.values())

    with_pair(serve)


def _texts(answer: str) -> list[str]:
    return [part.split('"')[0] for part in answer.replace("content", "text").split('"text":"')[1:]]


def test_a_decode_worker_refuses_another_prompt_than_the_prefill_workers() -> None:
    """The cache of one prompt under the text of another would be a wrong answer."""

    async def serve(pair: Pair) -> None:
        meeting = pair.meeting()
        prefill = asyncio.create_task(pair.ask("prefill", _TEXT | meeting))
        status, text = await pair.ask("decode", _TEXT | meeting | {"prompt": "another"})
        assert status == 500
        assert "another prompt" in text
        prefill.cancel()

    with_pair(serve)


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_request_without_a_room_is_refused(role: str) -> None:
    """With SGLang's words."""

    async def serve(pair: Pair) -> None:
        status, text = await pair.ask(role, _TEXT)
        assert status == 400
        assert "received without bootstrap room id" in text

    with_pair(serve)


@pytest.mark.parametrize(("role", "tokens"), [("prefill", 1), ("decode", 9)])
def test_a_peer_that_is_not_there_lets_a_worker_warm_up_alone(role: str, tokens: int) -> None:
    """SGLang's own warm-up names this address."""

    async def serve(pair: Pair) -> None:
        fake = {"bootstrap_host": "2.2.2.2", "bootstrap_room": 0}
        status, text = await pair.ask(role, _TEXT | fake)
        assert status == 200
        assert f'"completion_tokens":{tokens},' in text

    with_pair(serve)


def test_a_decode_worker_without_its_prefill_worker_fails() -> None:
    """Nothing listens at the bootstrap port: an error, not a text."""

    async def serve(pair: Pair) -> None:
        status, text = await pair.ask("decode", _TEXT | pair.meeting() | {"bootstrap_port": 1})
        assert status == 500
        assert "KVTransferError" in text

    with_pair(serve)
