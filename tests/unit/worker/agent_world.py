"""One agent on loopback with what surrounds it: metadata, AWS, a stub engine, real HTTP."""

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
import worker_fakes as fakes

from sglworker.agent import Agent
from sglworker.files import Files

GROUP = "sgl-dev-chat-ondemand"


class World:
    """One agent and what surrounds it."""

    agent: Agent
    _task: asyncio.Task[None]

    def __init__(self, files: Files, around: Any, folder: Path, session: Any) -> None:
        self.files, self.around, self.folder, self.session = files, around, folder, session
        self.address = around.address
        self.engine_port = json.loads(around.parameter)["engine_port"]
        self.agent_port = json.loads(around.parameter)["agent_port"]

    def start(self) -> None:
        self.agent = Agent(self.files, self.files.host_document())
        self._task = asyncio.create_task(self.agent.run())

    async def stop(self) -> None:
        """The agent ends at once, as when its service manager loses patience."""
        self.agent._leaving.set()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(self._task, 10)

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
        here = World(files, around, tmp_path, session)
        here.start()
        try:
            yield here
        finally:
            await here.stop()


def live(test: Callable[[World], Awaitable[None]], tmp_path: Path, **changes: Any) -> None:
    async def run() -> None:
        async with world(tmp_path, **changes) as here:
            await test(here)

    asyncio.run(run())
