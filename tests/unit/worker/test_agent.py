"""The whole agent on loopback: fake metadata and AWS, a stub engine, real HTTP between them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import worker_fakes as fakes

from sglworker import agent as agent_module
from sglworker import boot, drain, hooks
from sglworker.agent import Agent
from sglworker.files import Files


class World:
    """One agent and what surrounds it."""

    def __init__(self, agent: Agent, around: Any, folder: Path, session: Any) -> None:
        self.agent, self.around, self.folder, self.session = agent, around, folder, session
        self.address = around.address
        self.engine_port = json.loads(around.parameter)["engine_port"]
        self.agent_port = json.loads(around.parameter)["agent_port"]

    @property
    def state(self) -> str:
        return self.agent.worker.state

    async def until(self, *states: str) -> None:
        await fakes.until(lambda: self.state in states)

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self._url(path)) as response:
            return response.status, await response.text()

    async def post(self, path: str, body: str = "") -> tuple[int, str]:
        async with self.session.post(self._url(path), data=body) as response:
            return response.status, await response.text()

    def _url(self, path: str) -> str:
        return f"http://{self.address}:{self.agent_port}{path}"

    def engine(self, **more: Any) -> Any:
        return fakes.stub_engine(self.address, self.engine_port, **more)

    async def stream(self, tokens: int) -> asyncio.Task[str]:
        """A stream that has begun; its task gives the whole text."""
        begun = asyncio.Event()

        async def read() -> str:
            body = {"model": "tiny", "prompt": "go on", "max_tokens": tokens,
                    "ignore_eos": True, "stream": True}  # fmt: skip
            url = f"http://{self.address}:{self.engine_port}/v1/completions"
            text = b""
            async with self.session.post(url, json=body) as response:
                async for line in response.content:
                    begun.set()
                    text += line
            return text.decode()

        task = asyncio.create_task(read())
        await asyncio.wait_for(begun.wait(), 5)
        return task


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def world(tmp_path: Path, **changes: Any) -> AsyncIterator[World]:
    address = f"127.{random.randint(100, 250)}.{random.randint(0, 250)}.{random.randint(2, 250)}"
    around = fakes.Surroundings(address)
    ports = {"engine_port": free_port(address), "agent_port": free_port(address)}
    around.parameter = json.dumps(fakes.FLEET | ports | changes.pop("fleet", {}))
    for name, value in changes.items():
        setattr(around, name, value)
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.safetensors").write_bytes(b"w" * 100_000)
    fakes.write_host_document(tmp_path / "worker.yaml", address, model)
    files = Files(tmp_path / "worker.yaml", tmp_path / "run")
    async with fakes.running(around) as environment, aiohttp.ClientSession() as session:
        os.environ.update(environment)
        agent = Agent(files, files.host_document())
        task = asyncio.create_task(agent.run())
        try:
            yield World(agent, around, tmp_path, session)
        finally:
            agent._leaving.set()
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(task, 10)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look ten times as often, so that a life takes a second."""
    for name in ("_ENGINE_POLL_S", "_INSTANCE_POLL_S", "_HOOK_POLL_S"):
        monkeypatch.setattr(agent_module, name, 0.05)
    monkeypatch.setattr(drain, "SETTLE_S", 0.15)
    monkeypatch.setattr(agent_module, "BOOT_TIMEOUT_S", 3.0)
    monkeypatch.setattr(boot, "_FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(hooks, "HEARTBEAT_S", 0.2)
    for name in ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID",
                 "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):  # fmt: skip
        monkeypatch.setenv(name, "")  # what `world` sets is gone after the test


def live(test: Callable[[World], Awaitable[None]], tmp_path: Path, **changes: Any) -> None:
    async def run() -> None:
        async with world(tmp_path, **changes) as here:
            await test(here)

    asyncio.run(run())


GROUP = "sgl-dev-chat-ondemand"


def test_a_worker_boots_warms_up_and_completes_its_launch_hook(tmp_path: Path) -> None:
    """From user data to ready: weights read, engine.json written, real generations, CONTINUE."""

    async def life(here: World) -> None:
        await here.until("starting")
        command = json.loads((tmp_path / "run" / "engine.json").read_text())
        assert command["argv"][-2:] == ["--max-running-requests", "4"]
        assert (await here.get("/health"))[0] == 503
        async with here.engine() as engine:
            await here.until("ready")
            await fakes.until(lambda: bool(here.around.completed))
            status, text = await here.get("/state")
            assert engine.served == 2
        state = json.loads(text)
        assert status == 200
        assert here.around.completed == [(GROUP, "launch", "CONTINUE")]
        assert state["hydrated_bytes"] == 100_000
        assert state["engine_version"] == "0.5.23"
        assert state["engine_url"] == f"http://{here.address}:{here.engine_port}"

    live(life, tmp_path)


def test_a_terminated_worker_lets_its_stream_finish_and_completes_the_hook(tmp_path: Path) -> None:
    """Terminate hook: draining while a stream runs, heartbeats, then drained and CONTINUE."""

    async def life(here: World) -> None:
        async with here.engine(itl_s=0.01):
            await here.until("ready")
            await fakes.until(lambda: bool(here.around.completed))
            stream = await here.stream(60)
            here.around.target, here.around.lifecycle = "Terminated", "Terminating:Wait"
            await here.until("draining")
            assert (await here.get("/health"))[0] == 200
            assert json.loads((await here.get("/state"))[1])["drain_deadline"] is not None
            assert not stream.done()
            await here.until("drained")
            assert stream.done()
            assert (await stream).count("data: ") == 61
            await fakes.until(lambda: len(here.around.completed) == 2)
        assert here.around.completed[1] == (GROUP, "terminate", "CONTINUE")
        assert here.around.heartbeats.count("terminate") >= 1
        assert here.agent.worker.cut_streams == 0

    live(life, tmp_path)


def test_a_stream_cut_by_the_deadline_is_counted(tmp_path: Path) -> None:
    """The deadline ends a drain, and the state says how many requests it cut."""

    async def life(here: World) -> None:
        async with here.engine(itl_s=0.01):
            await here.until("ready")
            stream = await here.stream(1500)
            here.around.target, here.around.lifecycle = "Terminated", "Terminating:Wait"
            await here.until("drained")
            assert not stream.done()
            state = json.loads((await here.get("/state"))[1])
            assert state["cut_streams"] == 1
            assert "deadline" in state["reason"]
            assert "sglworker_cut_streams_total 1.0" in (await here.get("/metrics"))[1]
            stream.cancel()

    live(life, tmp_path, fleet={"drain_deadline_s": 0.4})


def test_an_operator_drains_and_undrains(tmp_path: Path) -> None:
    """POST /drain ends in drained; POST /undrain warms up again and is ready."""

    async def life(here: World) -> None:
        await here.until("starting")
        assert (await here.post("/drain"))[0] == 200
        await here.until("drained")
        async with here.engine() as engine:
            assert (await here.post("/undrain"))[0] == 200
            await here.until("ready")
            served = engine.served
            assert (await here.post("/drain", '{"deadline_s": "x"}'))[0] == 400
            assert (await here.post("/drain", '{"deadline_s": 5}'))[0] == 200
            await here.until("drained")
            assert (await here.post("/undrain"))[0] == 200
            await here.until("ready")
            assert engine.served == served + 2
            assert (await here.post("/undrain"))[0] == 409

    live(life, tmp_path)


def test_an_undrain_cannot_undo_a_termination(tmp_path: Path) -> None:
    """The group's wish is stronger than the operator's."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            await here.post("/drain")
            here.around.target, here.around.lifecycle = "Terminated", "Terminating:Wait"
            await fakes.until(lambda: (GROUP, "terminate", "CONTINUE") in here.around.completed)
            status, text = await here.post("/undrain")
            assert status == 409
            assert "terminate" in text

    live(life, tmp_path)


def test_an_engine_that_dies_makes_the_worker_start_again(tmp_path: Path) -> None:
    """Three reads without an answer: starting; the restarted engine is warmed up again."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
        await here.until("starting")
        assert "3 reads in a row" in json.loads((await here.get("/state"))[1])["reason"]
        async with here.engine() as engine:
            await here.until("ready")
            assert engine.served == 2

    live(life, tmp_path)


def test_a_spot_notice_drains_within_its_time(tmp_path: Path) -> None:
    """The notice's time, not the fleet's deadline, bounds the drain."""

    async def life(here: World) -> None:
        async with here.engine(itl_s=0.01):
            await here.until("ready")
            stream = await here.stream(1500)
            here.around.spot = json.dumps({"action": "terminate", "time": "2020-01-01T00:00:00Z"})
            await here.until("drained")
            assert here.agent.worker.cut_streams == 1
            stream.cancel()

    live(life, tmp_path)


_BAD_BOOTS = {
    "no parameter": ({"parameter": ""}, "ParameterNotFound"),
    "user data is no YAML": ({"user_data": "#!/bin/sh\necho"}, "user data"),
    "engine never answers": ({"fleet": {"launch_timeout_s": 0.3}}, "/health"),
}


@pytest.mark.parametrize("case", _BAD_BOOTS)
def test_a_worker_that_cannot_come_up_fails_visibly_and_abandons(tmp_path: Path, case: str) -> None:
    """State failed with the reason, and the launch hook completed with ABANDON."""
    changes, reason = _BAD_BOOTS[case]

    async def life(here: World) -> None:
        await here.until("failed")
        await fakes.until(lambda: bool(here.around.completed))
        assert reason in here.agent.worker.machine.reason
        assert here.around.completed == [(GROUP, "launch", "ABANDON")]

    if changes.get("parameter") == "":
        ports = {"engine_port": 30000, "agent_port": 30080}

        async def life_without(here: World) -> None:
            here.around.parameter = ""
            await life(here)

        live(life_without, tmp_path, fleet=ports)
    else:
        live(life, tmp_path, **changes)


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_worker_of_a_pair_is_ready_by_itself(tmp_path: Path, role: str) -> None:
    """Its warm-up names no peer; a prefill worker tells where decode workers meet it."""
    port = free_port("127.0.0.1")

    async def life(here: World) -> None:
        async with here.engine(disaggregation_mode=role, bootstrap_port=port) as engine:
            await here.until("ready")
            assert engine.served == 2
            state = json.loads((await here.get("/state"))[1])
        assert state["role"] == role
        assert state["bootstrap_port"] == (port if role == "prefill" else None)
        assert state["max_running_requests"] == 32

    live(life, tmp_path, fleet={"role": role, "disaggregation": {"bootstrap_port": port}})


def test_a_prefill_worker_without_its_bootstrap_server_is_never_ready(tmp_path: Path) -> None:
    """SGLang serves /health although that port was taken; requests would fail one by one."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("failed")
        assert "bootstrap server on port" in here.agent.worker.machine.reason

    fleet = {"role": "prefill", "disaggregation": {"bootstrap_port": 1}, "launch_timeout_s": 1}
    live(life, tmp_path, fleet=fleet)


def test_metadata_that_fails_for_a_while_changes_nothing(tmp_path: Path) -> None:
    """An unreadable target state is not a wish to terminate, nor to serve."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            here.around.metadata_down = True
            here.around.target = "Terminated"
            await fakes.until(lambda: here.agent._metadata_failures >= 3)
            assert here.state == "ready"
            here.around.metadata_down = False
            await here.until("draining", "drained")

    live(life, tmp_path)


def test_a_warm_pool_instance_reads_its_weights_and_waits(tmp_path: Path) -> None:
    """Warmed: hydrated, hook completed, no engine.json until the group wants it in service."""

    async def life(here: World) -> None:
        await here.until("warmed")
        await fakes.until(lambda: len(here.around.completed) == 1)
        assert not (tmp_path / "run" / "engine.json").exists()
        assert here.agent.worker.hydrated_bytes == 100_000
        here.around.target, here.around.lifecycle = "InService", "Pending:Wait"
        async with here.engine():
            await here.until("ready")
            await fakes.until(lambda: len(here.around.completed) == 2)

    live(life, tmp_path, target="Warmed:Stopped", lifecycle="Warmed:Pending:Wait")


def test_a_refused_warm_up_fails_at_once(tmp_path: Path) -> None:
    """An engine that answers 4xx will not change its mind: failed, with its words."""

    async def life(here: World) -> None:
        async with here.engine(max_total_tokens=16):
            await here.until("failed")
        assert "answered 400" in here.agent.worker.machine.reason

    live(life, tmp_path)
