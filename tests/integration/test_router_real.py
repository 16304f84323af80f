"""A real router before real engines: answers are the engine's, and failures are explicit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.answers import Sse, comparable, cut_off, stream
from tests.integration.engine_process import EngineProcess
from tests.integration.router_process import RouterProcess, StubProcess, router, until
from tests.integration.tap import Tap

pytestmark = pytest.mark.timeout(900)
ANSWER_S = 90.0


@dataclass
class Served:
    """A router and the two engines behind it."""

    router: RouterProcess
    engines: list[Any]
    taps: list[Tap]

    def ask(self, url: str, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(url + path, json=body, timeout=ANSWER_S, trust_env=False)

    def tap(self, answer: httpx.Response) -> Tap:
        """The tap of the engine that gave an answer of the router."""
        worker = answer.headers["x-sglctl-worker"]
        return next(tap for tap in self.taps if tap.url == f"http://{worker}")


@contextmanager
def stubs(folder: Path, *flags: str) -> Iterator[list[StubProcess]]:
    engines = [StubProcess(folder, *flags) for _ in range(2)]
    try:
        yield engines
    finally:
        for engine in engines:
            engine.kill()


@contextmanager
def sglang(home: Path, folder: Path) -> Iterator[list[EngineProcess]]:
    # A random model would fill a JSON text with spaces for ever, and never begin a marked call;
    # with this parser a call is JSON from its first token.
    flags = ("--tool-call-parser", "pythonic", "--constrained-json-disable-any-whitespace")
    engines = [EngineProcess(home, folder / f"engine-{i}.log", flags) for i in range(2)]
    try:
        for engine in engines:
            engine.start()
        for engine in engines:
            engine.wait()
        yield engines
    finally:
        for engine in engines:
            engine.kill()


@pytest.fixture(scope="module", params=["stub", pytest.param("sglang", marks=pytest.mark.engine)])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    real = request.param == "sglang"
    home = request.getfixturevalue("engine_environment") if real else Path()
    with (
        sglang(home, folder) if real else stubs(folder) as engines,
        Tap(engines[0].port) as first,
        Tap(engines[1].port) as second,
        router(folder, [{"url": tap.url} for tap in (first, second)]) as front,
    ):
        yield Served(front, engines, [first, second])


_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object", "properties": {"city": {"type": "string", "maxLength": 8}},
            "required": ["city"], "additionalProperties": False,
        },
    },
}  # fmt: skip
_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "s", "strict": True, "schema": _TOOL["function"]["parameters"]},  # type: ignore[index]
}
_C, _T = "/v1/chat/completions", "/v1/completions"
_CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Say hello."}],
         "max_tokens": 12, "temperature": 0}  # fmt: skip
_TEXT = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}
_ONCE = {"text": "Once upon", "sampling_params": {"max_new_tokens": 9, "temperature": 0}}
_TELL = {"stream": True, "stream_options": {"include_usage": True}}
_RESPONSES = {"model": "tiny", "input": "Say hello.", "max_output_tokens": 8, "temperature": 0,
              "store": False}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (_C, _CHAT),
    "chat, streamed": (_C, _CHAT | _TELL),
    "chat, two choices": (_C, _CHAT | {"n": 2}),
    "chat, log probabilities": (_C, _CHAT | {"logprobs": True, "top_logprobs": 2}),
    "chat, JSON schema": (_C, _CHAT | {"response_format": _SCHEMA, "max_tokens": 64}),
    "chat, tool": (_C, _CHAT | {"tools": [_TOOL], "tool_choice": "required", "max_tokens": 96}),
    "chat, tool, streamed": (
        _C, _CHAT | {"tools": [_TOOL], "tool_choice": "required", "max_tokens": 96} | _TELL,
    ),
    "chat, fields nobody knows": (_C, _CHAT | {"x_unknown": {"a": [1, None]}, "user": "u"}),
    "chat, wrong": (_C, _CHAT | {"messages": []}),
    "text": (_T, _TEXT),
    "text, streamed": (_T, _TEXT | _TELL),
    "texts": (_T, _TEXT | {"prompt": ["one", "two"]}),
    "text, log probabilities": (_T, _TEXT | {"logprobs": 2}),
    "generate": ("/generate", _ONCE),
    "generate, streamed": ("/generate", _ONCE | {"stream": True}),
    "messages": ("/v1/messages", _CHAT),
    "messages, streamed": ("/v1/messages", _CHAT | {"stream": True}),
    "responses": ("/v1/responses", _RESPONSES),
    "responses, streamed": ("/v1/responses", _RESPONSES | {"stream": True}),
    "embeddings": ("/v1/embeddings", {"model": "tiny", "input": "a text"}),
    "rerank": ("/v1/rerank", {"model": "tiny", "query": "a", "documents": ["b", "c"]}),
    "score": ("/v1/score", {"model": "tiny", "query": "a", "items": ["b", "c"],
                            "label_token_ids": [5, 6], "apply_softmax": True}),
    "tokenize": ("/tokenize", {"model": "tiny", "prompt": "Hello there"}),
    "detokenize": ("/detokenize", {"model": "tiny", "tokens": [67, 275]}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_both_bodies_pass_byte_for_byte(served: Served, case: str) -> None:
    """What the engine got is what the client sent, and the other way round; a tap compares."""
    path, body = CASES[case]
    for tap in served.taps:
        tap.forget()
    answer = served.ask(served.router.url, path, body)
    request, told = served.tap(answer).exchange(path)
    assert request.body == answer.request.content
    assert (answer.status_code, answer.content) == (told.status, told.body)
    unlike = {"connection", "keep-alive", "transfer-encoding", "x-request-id"}
    kept = {name: value for name, value in told.headers.items() if name not in unlike}
    assert kept.items() <= dict(answer.headers).items()


@pytest.mark.parametrize("case", ["chat", "text", "texts", "tokenize"])
def test_an_answer_is_what_an_engine_asked_directly_answers(served: Served, case: str) -> None:
    """But for ids, times and what was cached."""
    path, body = CASES[case]
    answer = served.ask(served.router.url, path, body)
    direct = served.ask(served.engines[0].url, path, body)
    assert answer.status_code == direct.status_code == 200
    assert comparable(answer.content) == comparable(direct.content)


def test_a_schema_holds_through_the_router(served: Served) -> None:
    """The client gets JSON of the shape it asked for."""
    answer = served.ask(served.router.url, *CASES["chat, JSON schema"]).json()
    assert list(json.loads(answer["choices"][0]["message"]["content"])) == ["city"]


def test_a_tool_is_called_through_the_router(served: Served) -> None:
    """As a call with arguments, not as text."""
    if isinstance(served.engines[0], StubProcess):
        pytest.skip("the stub engine cannot be made to call a tool")
    answer = served.ask(served.router.url, *CASES["chat, tool"]).json()
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert list(json.loads(call["function"]["arguments"])) == ["city"]


def test_the_models_are_the_fleets(served: Served) -> None:
    """/v1/models lists the model, and one that no fleet has is refused by the router."""
    listed = httpx.get(f"{served.router.url}/v1/models", trust_env=False).json()
    assert [card["id"] for card in listed["data"]] == ["tiny"]
    unknown = served.ask(served.router.url, _C, _CHAT | {"model": "none"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_a_conversation_stays_where_its_prefix_is_cached(served: Served) -> None:
    """Four conversations in turn: each on one worker, which reports the earlier turns as cached."""
    openings = [f"You are helper {i} of a shop. " + f"Rule {i} is kept. " * 40 for i in range(4)]
    talks = [[{"role": "system", "content": text}] for text in openings]
    seen: list[set[str]] = [set() for _ in talks]
    prompts = [0] * len(talks)
    for turn in range(4):
        for i, talk in enumerate(talks):
            talk.append({"role": "user", "content": f"Question {turn}?"})
            answer = served.ask(served.router.url, _C, _CHAT | {"messages": talk})
            document = answer.json()
            talk.append(document["choices"][0]["message"] | {"reasoning_content": None})
            seen[i].add(answer.headers["x-sglctl-worker"])
            cached = document["usage"]["prompt_tokens_details"]["cached_tokens"]
            assert cached >= 0.8 * prompts[i], f"turn {turn} of conversation {i}"
            prompts[i] = document["usage"]["prompt_tokens"]
    assert [len(workers) for workers in seen] == [1, 1, 1, 1]
    assert len(set.union(*seen)) == 2  # and not all on one


def test_a_client_that_leaves_frees_the_engine(served: Served) -> None:
    """Nothing runs on any engine afterwards, and the router is at rest."""

    async def leave() -> None:
        async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
            body = _CHAT | {"max_tokens": 3000, "ignore_eos": True}
            begun = asyncio.Event()
            asked = asyncio.create_task(stream(client, served.router.url, body, begun=begun))
            await asyncio.wait_for(begun.wait(), ANSWER_S)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    asyncio.run(leave())
    until(served.router.at_rest, "the router is at rest")
    until(lambda: not any(map(_running, served.engines)), "the engines are idle")


def _running(engine: Any) -> int:
    url = f"{engine.url}/v1/loads?include=core"
    return int(httpx.get(url, timeout=10, trust_env=False).json()["loads"][0]["num_running_reqs"])


def test_an_engine_killed_in_mid_stream_is_an_error_event(served: Served) -> None:
    """Its streams end with one and without [DONE]; those of the other engine are whole."""
    bodies = [
        _CHAT | {"messages": [{"role": "user", "content": f"{i} is a number."}],
                 "max_tokens": 600, "ignore_eos": True}
        for i in range(8)
    ]  # fmt: skip
    victim = served.engines[0]
    answers = cut_off(served.router.url, bodies, victim.kill, ANSWER_S, begun=8)
    victims, others = (f"127.0.0.1:{tap.port}" for tap in served.taps)
    lost = [answer for answer in answers if answer.worker == victims]
    assert lost
    for answer in lost:
        assert answer.complete or _told(answer)
    assert any(map(_told, lost))
    assert {answer.worker for answer in answers} == {victims, others}
    assert all(answer.complete for answer in answers if answer not in lost)
    until(served.router.at_rest, "the router is at rest")


def _told(answer: Sse) -> bool:
    return [error["code"] for error in answer.errors] == ["upstream_failed"] and not answer.done


def test_a_dead_engine_costs_no_client_an_error(served: Served) -> None:
    """The one of the test before is gone for good: every request is answered by the other."""
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(served.ask, served.router.url, _T, _TEXT | {"prompt": f"number {i}"})
            for i in range(60)
        ]
        answers = [future.result() for future in asked]
    assert [answer.status_code for answer in answers] == [200] * 60


def test_a_sick_engine_costs_no_client_an_error(tmp_path: Path) -> None:
    """It says that it is healthy and never answers: the others do, and its breaker opens."""
    with stubs(tmp_path) as engines:
        workers = [{"url": engine.url} for engine in engines]
        with router(tmp_path, workers, fleet={"first_byte_timeout_s": 1}) as front:
            engines[0].fault(hang_before_first_byte=True)
            served = Served(front, list(engines), [])
            with ThreadPoolExecutor(8) as pool:
                asked = [
                    pool.submit(served.ask, front.url, _T, _TEXT | {"prompt": f"number {i}"})
                    for i in range(100)
                ]
                answers = [future.result() for future in asked]
            assert [answer.status_code for answer in answers] == [200] * 100
            until(front.at_rest, "the router is at rest")
            until(lambda: not engines[0].state()["running"], "the sick engine is left alone")
