"""One prefill and one decode worker, real SGLang over Mooncake TCP, behind a real router."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.answers import Sse, comparable, cut_off, stream
from tests.integration.engine_process import EngineProcess, free_port, require_transfer
from tests.integration.router_process import RouterProcess, router, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

_TCP = ("--disaggregation-transfer-backend", "mooncake_tcp")
#: Longer than any answer here takes on a busy machine; a hang is longer.
ANSWER_S = 90.0


@dataclass
class Pair:
    """A router before a prefill and a decode worker; `regular` does both, and is asked directly."""

    router: RouterProcess
    prefill: EngineProcess
    decode: EngineProcess
    regular: EngineProcess

    def ask(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self._post(self.router.url, path, body)

    def ask_regular(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self._post(self.regular.url, path, body)

    @staticmethod
    def _post(url: str, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(url + path, json=body, timeout=ANSWER_S, trust_env=False)

    def streams(self, bodies: list[dict[str, Any]]) -> list[Sse]:
        async def run() -> list[Sse]:
            limits = httpx.Limits(max_connections=len(bodies))
            async with httpx.AsyncClient(
                timeout=ANSWER_S, limits=limits, trust_env=False
            ) as client:
                asked = (stream(client, self.router.url, body) for body in bodies)
                return list(await asyncio.gather(*asked))

        return asyncio.run(run())


@pytest.fixture(scope="module")
def pair(engine_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    require_transfer(engine_environment)
    folder, port = tmp_path_factory.mktemp("pair"), free_port()
    prefill = EngineProcess(
        engine_environment, folder / "prefill.log",
        ("--disaggregation-mode", "prefill", *_TCP, "--disaggregation-bootstrap-port", str(port)),
        # On a CPU it would copy with CUDA (docs/reference/agent.md).
        {"SGLANG_DISAGG_PREFILL_EARLY_SEND_CACHED_PREFIX": "0"},
    )  # fmt: skip
    decode = EngineProcess(
        engine_environment, folder / "decode.log",
        ("--disaggregation-mode", "decode", *_TCP,
         "--disaggregation-decode-retraction-backup", "cpu_tensor"),
    )  # fmt: skip
    regular = EngineProcess(engine_environment, folder / "regular.log")
    workers = [
        {"url": prefill.url, "role": "prefill", "bootstrap_port": port},
        {"url": decode.url, "role": "decode"},
    ]
    try:
        for engine in (prefill, decode, regular):
            engine.start()
        for engine in (prefill, decode, regular):
            engine.wait()
        with router(folder, workers) as front:
            yield Pair(front, prefill, decode, regular)
    finally:
        for engine in (prefill, decode, regular):
            engine.kill()


_HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Say hello."}],
          "max_tokens": 12, "temperature": 0}  # fmt: skip
_TEXT = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}
_ONCE = {"text": "Once upon", "sampling_params": {"max_new_tokens": 9, "temperature": 0}}
_ANSWER = {"model": "tiny", "input": "Say hello.", "max_output_tokens": 8, "temperature": 0,
           "store": False}  # fmt: skip
CASES = {
    "chat": ("/v1/chat/completions", _HELLO, "choices"),
    "chat with a long prompt": (
        "/v1/chat/completions",
        _HELLO | {"messages": [{"role": "user", "content": "many words of a prompt " * 150}]},
        "choices",
    ),
    "chat by a regular expression": (
        "/v1/chat/completions", _HELLO | {"regex": "[0-9]{3}-[ab]"}, "choices",
    ),
    "text": ("/v1/completions", _TEXT, "choices"),
    "texts": ("/v1/completions", _TEXT | {"prompt": ["one", "two", "three"]}, "choices"),
    "token ids": ("/v1/completions", _TEXT | {"prompt": [5, 6, 7, 8]}, "choices"),
    "generate": ("/generate", _ONCE, "output_ids"),
    "messages": ("/v1/messages", _HELLO, "content"),
    "responses": ("/v1/responses", _ANSWER, "output"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_pair_answers_what_a_regular_worker_answers(pair: Pair, case: str) -> None:
    """At temperature 0; the answer comes from the decode worker."""
    path, body, part = CASES[case]
    answer, expected = pair.ask(path, body), pair.ask_regular(path, body)
    assert answer.status_code == expected.status_code == 200
    assert answer.headers["x-sglctl-worker"] == f"127.0.0.1:{pair.decode.port}"
    wanted = comparable(httpx.Response(200, json=expected.json()[part]).content)
    assert comparable(httpx.Response(200, json=answer.json()[part]).content) == wanted


def test_what_cannot_be_paired_is_refused_not_left_to_hang(pair: Pair) -> None:
    """SGLang 0.5.23 never answers several samples of one prompt in this mode."""
    answer = pair.ask("/v1/completions", _TEXT | {"n": 2})
    assert answer.status_code == 400
    assert "n" in answer.json()["error"]["message"]


def test_a_client_cannot_send_a_worker_to_a_peer_of_its_own(pair: Pair) -> None:
    """Bootstrap fields of a client would make the decode worker connect where the client likes."""
    forged = {"bootstrap_host": "127.0.0.1", "bootstrap_port": 9, "bootstrap_room": 1}
    answer = pair.ask("/v1/completions", _TEXT | forged)
    expected = pair.ask_regular("/v1/completions", _TEXT)
    assert answer.status_code == 400 or (
        answer.json()["choices"][0]["text"] == expected.json()["choices"][0]["text"]
    )


def test_twenty_streams_at_once_are_whole_and_right(pair: Pair) -> None:
    """Each its own text, each with [DONE], and no counter is left behind."""
    bodies = [
        _HELLO | {"messages": [{"role": "user", "content": f"Story {i}."}], "max_tokens": 24,
                  "ignore_eos": True}
        for i in range(20)
    ]  # fmt: skip
    answers = pair.streams(bodies)
    assert [answer.complete for answer in answers] == [True] * 20
    for body, answer in list(zip(bodies, answers, strict=True))[::5]:
        alone = pair.ask_regular("/v1/chat/completions", body).json()
        assert answer.text == alone["choices"][0]["message"]["content"]
    until(pair.router.at_rest, "the router is at rest")


def test_a_killed_prefill_worker_is_an_error_and_its_successor_is_used(pair: Pair) -> None:
    """Whole or an explicit error, within the time of an answer; a new one serves again."""

    bodies = [_HELLO | {"ignore_eos": True, "max_tokens": 200}] * 6
    for answer in cut_off(pair.router.url, bodies, pair.prefill.kill, ANSWER_S, begun=1):
        assert answer.complete or answer.status >= 500 or answer.errors
        assert not (answer.done and answer.errors)
    began = time.monotonic()
    refused = pair.ask("/v1/chat/completions", _HELLO)
    assert refused.status_code in (500, 502, 503, 504)
    assert "error" in refused.text
    assert time.monotonic() - began < ANSWER_S
    until(pair.router.at_rest, "the router is at rest")
    pair.prefill.start()
    pair.prefill.wait()
    until(lambda: pair.ask("/v1/chat/completions", _HELLO).status_code == 200, "served again", 120)


def test_a_decode_worker_killed_in_mid_stream_is_an_error_event(pair: Pair) -> None:
    """The stream ends with it, and without [DONE]."""

    body = _HELLO | {"max_tokens": 3000, "ignore_eos": True}
    (answer,) = cut_off(pair.router.url, [body], pair.decode.kill, ANSWER_S, begun=1)
    assert answer.status == 200
    assert [error["code"] for error in answer.errors] == ["upstream_failed"]
    assert not answer.done
    until(pair.router.at_rest, "the router is at rest")
