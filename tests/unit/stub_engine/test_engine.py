"""The stub engine over HTTP: timing, queueing, cancellation, faults, drain."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sglocal.stub_engine.app import start
from sglocal.stub_engine.context import Engine
from sglocal.stub_engine.faults import FaultError, Faults
from sglocal.stub_engine.options import Options, parse_options


class Stub:
    """A running stub and a client of it."""

    def __init__(self, engine: Engine, url: str, session: aiohttp.ClientSession) -> None:
        self.engine, self.url, self.session = engine, url, session
        self.scheduler = engine.scheduler

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body) as response:
            return response.status, await response.json()

    async def text(self, prompt: str = "once", tokens: int = 4, **more: Any) -> tuple[int, Any]:
        body = {"model": "tiny", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True}
        return await self.post("/v1/completions", **body, **more)

    def streaming(self, tokens: int, prompt: str = "once") -> Any:
        body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "stream": True}
        return self.session.post(f"{self.url}/v1/completions", json=body)


def with_stub(test: Callable[[Stub], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        settings = Options("m", "tiny", port=0, **({"itl_s": 0.002} | options))
        runner, port = await start(settings)
        async with aiohttp.ClientSession() as session:
            try:
                engine = runner.app[Engine.KEY]
                await asyncio.wait_for(test(Stub(engine, f"http://127.0.0.1:{port}", session)), 20)
            finally:
                await runner.cleanup()

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the state is another task's
            await asyncio.sleep(0.002)


def test_time_follows_the_model() -> None:
    """Prefill at its rate, then one token each ITL; a cached prefix costs nothing."""

    async def measure(stub: Stub) -> None:
        prompt = "word " * 200  # 401 tokens at 1,000 a second
        begun = time.monotonic()
        _, first = await stub.text(prompt, tokens=11)
        took = time.monotonic() - begun
        expected = first["usage"]["prompt_tokens"] / 1000 + 10 * 0.02
        assert took == pytest.approx(expected, abs=0.15)
        assert took >= expected - 0.005
        begun = time.monotonic()
        _, second = await stub.text(prompt, tokens=1)
        assert time.monotonic() - begun < 0.15
        total = second["usage"]["prompt_tokens"]
        assert total - 8 <= second["usage"]["prompt_tokens_details"]["cached_tokens"] < total

    with_stub(measure, prefill_tokens_per_s=1000.0, itl_s=0.02)


def test_a_hundred_streams_keep_their_pace() -> None:
    """The last of 100 streams' tokens comes when the model says, within 10 % of the whole."""

    async def measure(stub: Stub) -> None:
        async def one(number: int) -> float:
            begun = last = 0.0
            async with stub.streaming(41, f"stream {number}") as response:
                async for line in response.content:
                    if line.startswith(b"data: {"):
                        last = time.monotonic()
                        begun = begun or last
            return last - begun

        spans = sorted(await asyncio.gather(*(one(n) for n in range(100))))
        assert spans[50] == pytest.approx(40 * 0.025, rel=0.1)

    with_stub(measure, itl_s=0.025, max_running_requests=128)


def test_requests_beyond_the_slots_wait_in_order() -> None:
    """First in, first out; the load tells who runs and who waits."""

    async def queue(stub: Stub) -> None:
        ended: list[int] = []

        async def one(number: int) -> None:
            await stub.text(f"request {number}", tokens=20)
            ended.append(number)

        tasks = []
        for number in range(4):
            tasks.append(asyncio.create_task(one(number)))
            await until(
                lambda n=number: stub.scheduler.running + stub.scheduler.queued == n + 1  # type: ignore[misc]
            )
        async with stub.session.get(f"{stub.url}/v1/loads?include=core") as response:
            load = (await response.json())["loads"][0]
        assert (load["num_running_reqs"], load["num_waiting_reqs"]) == (1, 3)
        await asyncio.gather(*tasks)
        assert ended == [0, 1, 2, 3]

    with_stub(queue, max_running_requests=1, itl_s=0.01)


@pytest.mark.parametrize("streams", [True, False])
def test_a_client_that_leaves_frees_its_slot_at_once(streams: bool) -> None:
    """Running or waiting, streamed or plain: the next request takes the place."""

    async def leave(stub: Stub) -> None:
        if streams:
            async with stub.streaming(4000) as response:
                await response.content.readline()
                waiting = asyncio.create_task(stub.text(tokens=1))
                await until(lambda: stub.scheduler.queued == 1)
                response.close()
        else:
            task = asyncio.create_task(stub.text(tokens=4000))
            await until(lambda: stub.scheduler.running == 1)
            abandoned = asyncio.create_task(stub.text(tokens=4000))
            await until(lambda: stub.scheduler.queued == 1)
            waiting = asyncio.create_task(stub.text(tokens=1))
            await until(lambda: stub.scheduler.queued == 2)
            for leaver in (abandoned, task):
                leaver.cancel()
                with suppress(asyncio.CancelledError):
                    await leaver
        status, _ = await asyncio.wait_for(waiting, 2)
        assert status == 200
        await until(lambda: stub.scheduler.running == 0)
        assert (stub.scheduler.used_tokens, stub.scheduler.queued) == (0, 0)

    with_stub(leave, max_running_requests=1, context_length=8192)


def test_an_abort_ends_a_request_with_its_reason() -> None:
    """/abort_request by rid: the answer ends early with finish_reason abort."""

    async def abort(stub: Stub) -> None:
        task = asyncio.create_task(stub.text(tokens=3000, rid="mine"))
        await until(lambda: stub.scheduler.running == 1)
        async with stub.session.post(f"{stub.url}/abort_request", json={"rid": "mine"}) as answer:
            assert answer.status == 200
        _, document = await asyncio.wait_for(task, 2)
        assert document["choices"][0]["finish_reason"] == "abort"
        assert document["usage"]["completion_tokens"] < 3000

    with_stub(abort)


def test_faults_come_and_go_while_it_runs() -> None:
    """Next n fail, all fail, before the first byte, after n tokens, slow, unhealthy; then none."""

    async def suffer(stub: Stub) -> None:
        async def fault(**wanted: Any) -> None:
            assert (await stub.post("/stub/faults", **wanted))[0] == 200

        await fault(error_next=2)
        assert [(await stub.text())[0] for _ in range(3)] == [500, 500, 200]
        await fault(error_next=0, error_rate=1)
        status, document = await stub.text()
        assert (status, document["object"], document["code"]) == (500, "error", 500)
        await fault(reset=True, hang_before_first_byte=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stub.text(), 0.2)
        await fault(reset=True, hang_after_tokens=3)
        lines: list[bytes] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3), stub.streaming(10) as response:
                async for line in response.content:
                    lines.append(line)
        assert not any(b"[DONE]" in line for line in lines)
        assert sum(line.startswith(b"data: ") for line in lines) == 3
        await fault(reset=True, slow_factor=50, unhealthy=True)
        begun = time.monotonic()
        await stub.text(tokens=4)
        assert time.monotonic() - begun >= 0.3
        async with stub.session.get(f"{stub.url}/health") as response:
            assert response.status == 503
        await fault(reset=True)
        assert (await stub.text())[0] == 200
        assert stub.engine.faults == Faults()

    with_stub(suffer)


@pytest.mark.parametrize(
    ("wanted", "word"),
    [({"dye": True}, "unknown fault 'dye'"), ({"error_rate": 2}, "error_rate"),
     ({"slow_factor": 0}, "slow_factor"), ({"die": 1}, "die"), ([], "object"),
     ({"hang_after_tokens": -1}, "hang_after_tokens"), ({"error_next": True}, "error_next")],
)  # fmt: skip
def test_a_wrong_fault_is_refused_and_changes_nothing(wanted: Any, word: str) -> None:
    """The message names the key."""
    faults = Faults(error_next=1)
    with pytest.raises(FaultError, match=word):
        faults.change(wanted)
    assert faults == Faults(error_next=1)


def test_a_request_the_stub_cannot_follow_is_a_400() -> None:
    """Better refused than answered with a lie."""

    async def refuse(stub: Stub) -> None:
        for more in ({"ebnf": "x"}, {"n": 2, "stream": True}, {"tool_choice": "required"},
                     {"regex": "(?=a)"}, {"stop": 5}, {"n": 0}):  # fmt: skip
            status, document = await stub.text(**more)
            assert (status, document["object"]) == (400, "error"), more
        status, document = await stub.text(stop=["the"], tokens=200)
        assert document["choices"][0]["matched_stop"] == "the"
        assert "the" not in document["choices"][0]["text"]

    with_stub(refuse)


def test_sglangs_other_flags_are_accepted_and_misspelt_ones_of_the_stub_not() -> None:
    """The engine arguments of a fleet work unchanged."""
    argv = ["--model-path", "/m", "--tp", "2", "--enable-metrics", "--attention-backend", "x"]
    assert parse_options(argv) == Options("/m", "/m")
    with pytest.raises(SystemExit):
        parse_options([*argv, "--stub-itl-mss", "5"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_sigterm_lets_streams_finish_and_die_does_not() -> None:
    """As a process: under 50 MB, drains on SIGTERM with exit 0; the fault `die` ends it at once."""

    async def run() -> None:
        for how in ("drain", "die"):
            port = free_port()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sglocal.stub_engine", "--model-path", "m",
                "--port", str(port), "--stub-itl-ms", "5",
            )  # fmt: skip
            try:
                async with aiohttp.ClientSession() as session:
                    await _end(how, process, f"http://127.0.0.1:{port}", session)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    asyncio.run(run())


async def _end(how: str, process: Any, url: str, session: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(10):
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(f"{url}/health"):
                    break
            await asyncio.sleep(0.05)
    body = {"prompt": "x", "max_tokens": 60, "ignore_eos": True, "stream": True}
    async with session.post(f"{url}/v1/completions", json=body) as response:
        text = await response.content.readline()
        if how == "drain":
            status = Path(f"/proc/{process.pid}/status").read_text()  # noqa: ASYNC240
            rss = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
            assert int(rss.split()[1]) < 50 * 1024
            os.kill(process.pid, signal.SIGTERM)
            text += await response.read()
            assert text.endswith(b"data: [DONE]\n\n")
            assert json.loads(text.split(b"\n\n")[0][6:])["object"] == "text_completion"
        else:
            async with session.post(f"{url}/stub/faults", json={"die": True}):
                pass
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
    code = await asyncio.wait_for(process.wait(), 5)
    assert code == (0 if how == "drain" else 137)
