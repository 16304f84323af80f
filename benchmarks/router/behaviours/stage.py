"""A router with scripted workers, up for one scenario."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.router import peers
from benchmarks.router.behaviours.scripted import Reply, ScriptedWorker, ask, chat, post
from benchmarks.router.processes import Program, cores, free_ports, program
from benchmarks.router.worker import MODEL

ROUTERS = (peers.OURS, peers.SGLANG, peers.SMG)
_READY_S = 60.0


@dataclass(frozen=True)
class Setting:
    """What a scenario needs: workers, extra ports where nobody listens, bounds for all routers.

    `full`: one request at a time, two may wait, for one second.
    """

    workers: int = 1
    dead: int = 0
    full: bool = False


@dataclass
class Stage:
    """A running router under a scenario."""

    name: str
    port: int
    workers: Sequence[ScriptedWorker]
    program: Program
    ready_s: float = 0.0

    async def ask(self, request: bytes | None = None, timeout_s: float = 15.0) -> Reply:
        return await ask(self.port, post(chat()) if request is None else request, timeout_s)

    async def drain(self, worker: ScriptedWorker) -> str:
        """Take a worker out as this router's documentation says; what was done."""
        if self.name == peers.OURS:
            worker.state = "draining"
            await asyncio.sleep(1.5)
            return "state draining"
        url = f"http://127.0.0.1:{worker.port}"
        listed = await ask(self.port, b"GET /workers HTTP/1.1\r\nHost: x\r\n\r\n")
        identity = next((w["id"] for w in _workers(listed) if w["url"] == url), None)
        head = f"DELETE /workers/{identity} HTTP/1.1\r\nHost: x\r\n\r\n"
        removed = await ask(self.port, head.encode())
        await asyncio.sleep(1.5)
        return f"DELETE /workers: {removed.status}"


def _workers(listed: Reply) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(listed.body)["workers"]
    except (ValueError, KeyError, TypeError):
        return []
    return found


def _start(name: str, folder: Path, ports: Sequence[int], setting: Setting) -> peers.Start:
    if name == peers.OURS:
        workers = [
            {"url": f"http://127.0.0.1:{p}", "fleet": "chat", "agent_url": f"http://127.0.0.1:{p}"}
            for p in ports
        ]
        changes: dict[str, Any] = {"discovery": {"kind": "static", "workers": workers}}
        if setting.full:
            queue = {"size": 2, "timeout_s": 1}
            fleet = {"models": [MODEL], "max_in_flight_per_worker": 1, "queue": queue}
            changes["fleets"] = {"chat": fleet}
        return peers.ours(folder, ports, **changes)
    flags = ("--max-concurrent-requests", "1", "--queue-size", "2", "--queue-timeout-secs", "1")
    make = peers.sglang_router if name == peers.SGLANG else peers.smg
    return make(folder, ports, *(flags if setting.full else ()))


@asynccontextmanager
async def stage(name: str, setting: Setting) -> AsyncIterator[Stage]:
    """The router, once it answered through a worker; `ready_s` says how long that took."""
    async with AsyncExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="sglctl-behaviour-")
        folder = Path(stack.enter_context(made))
        workers = [ScriptedWorker() for _ in range(setting.workers)]
        for worker in workers:
            await worker.start()
            stack.push_async_callback(worker.stop)
        ports = [worker.port for worker in workers] + free_ports(setting.dead)
        start = _start(name, folder, ports, setting)
        running = await stack.enter_async_context(
            program(
                start.argv,
                core=cores()[0],
                log=folder / "output.log",
                environment=start.environment,
            )
        )
        staged = Stage(name, start.port, workers, running)
        staged.ready_s = await _until_ready(staged)
        for worker in workers:
            worker.requests.clear()
        yield staged


async def _until_ready(staged: Stage) -> float:
    """Seconds until a request was answered; a router that never does is an observation, too."""
    started = time.monotonic()
    while time.monotonic() - started < _READY_S and staged.program.alive:
        try:
            if (await staged.ask(timeout_s=5)).status == 200:
                return time.monotonic() - started
        except OSError:
            pass  # not listening yet
        await asyncio.sleep(0.1)
    return float("inf")
