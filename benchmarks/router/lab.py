"""A run's surroundings: generator, stand-in workers and routers, all gone when it ends."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.router import peers
from benchmarks.router.load import Figures
from benchmarks.router.processes import Program, Usage, cores, program, raise_file_limit, usage

_JOB_S = 300.0
_READY_S = 60.0
_WORKERS = 4
_PYTHONPATH = os.pathsep.join((str(peers.ROOT), os.environ.get("PYTHONPATH", "")))


class RunError(Exception):
    """The benchmark itself could not do its work; no figure is better than a wrong one."""


class JobError(RunError):
    """A router refused connections, or took none in time."""


@dataclass(frozen=True)
class Subject:
    """A router under load: the program, and the port that requests go to."""

    name: str
    port: int
    program: Program

    def usage(self) -> Usage:
        return usage(self.program.process.pid)


class Lab:
    """Generator and workers share one core, the routers the other."""

    def __init__(self, folder: Path, load: Program, workers: list[int], core: int) -> None:
        self.folder, self.workers = folder, workers
        self._load, self._core = load, core
        self._seeds = itertools.count(int(time.time()) % 100_000 * 1000)
        self._folders = itertools.count(1)

    async def job(self, kind: str, port: int, **arguments: float) -> Figures:
        """Have the generator do one job, with prompts never sent before."""
        process = self._load.process
        assert process.stdin is not None
        assert process.stdout is not None
        job = {"kind": kind, "port": port, "seed": next(self._seeds), **arguments}
        process.stdin.write(json.dumps(job).encode() + b"\n")
        async with asyncio.timeout(_JOB_S):
            line = await process.stdout.readline()
        if not line:
            raise RunError(f"the generator ended in job {job}")
        answer = json.loads(line)
        if "failed" in answer:
            raise JobError(f"{answer['failed']} (job {job})")
        return cast(Figures, answer)

    @asynccontextmanager
    async def router(self, name: str, **changes: Any) -> AsyncIterator[Subject]:
        """A router by name, started and answering; `changes` go into our document."""
        folder = self.folder / f"router-{next(self._folders)}"
        folder.mkdir()
        start = self._start(name, folder, changes)
        async with program(
            start.argv, core=self._core, log=folder / "output.log", environment=start.environment
        ) as running:
            subject = Subject(name, start.port, running)
            await self._answers(subject)
            yield subject

    def _start(self, name: str, folder: Path, changes: Mapping[str, Any]) -> peers.Start:
        if name in (peers.OURS, peers.OURS_TWO):
            processes = 1 if name == peers.OURS else 2
            return peers.ours(folder, self.workers, processes=processes, **changes)
        others = {
            peers.NGINX: peers.nginx,
            peers.SGLANG: peers.sglang_router,
            peers.SMG: peers.smg,
        }
        return others[name](folder, self.workers)

    async def _answers(self, subject: Subject) -> None:
        """Wait until sixteen requests in a row were answered with 200."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and subject.program.alive:
            try:
                figures = await self.job("serial", subject.port, requests=16, size=512)
                if not figures["errors"]:
                    return
            except JobError:
                pass  # not listening yet
            await asyncio.sleep(0.2)
        raise RunError(f"{subject.name} does not answer:\n{subject.program.tail()}")


@asynccontextmanager
async def lab() -> AsyncIterator[Lab]:
    """Everything but the routers. Raises RuntimeError on a machine with one core."""
    router_core, other_core = cores()
    raise_file_limit()
    # What this process itself does (reading /proc, waiting) must not fall on the router's core.
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {other_core})
    python = {"PYTHONPATH": _PYTHONPATH}
    async with AsyncExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, before)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sglctl-bench-")))
        argv = [sys.executable, "-m", "benchmarks.router.worker", "--count", str(_WORKERS)]
        workers = await stack.enter_async_context(
            program(argv, core=other_core, environment=python, piped=True)
        )
        assert workers.process.stdout is not None
        async with asyncio.timeout(_READY_S):
            ports = json.loads(await workers.process.stdout.readline())["ports"]
        argv = [sys.executable, "-m", "benchmarks.router.load"]
        load = await stack.enter_async_context(
            program(argv, core=other_core, environment=python, piped=True)
        )
        yield Lab(folder, load, ports, router_core)
