"""`sglrouter serve` as a real process, for what only signals and processes can show."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

DEADLINE_S = 45.0  # a machine that runs many tests at once starts processes slowly


class Command:
    """A router that runs: its addresses, what it has logged, and its data processes."""

    def __init__(self, lab: Any, process: subprocess.Popen[bytes], log: Path) -> None:
        self.lab = lab
        self.process = process
        self.log_path = log
        self.port = self.admin_port = 0
        self.ending = False

    def lines(self) -> list[dict[str, Any]]:
        """Every line logged so far; each must be whole JSON."""
        return [json.loads(x) for x in self.log_path.read_text().splitlines(keepends=True)
                if x.endswith("\n")]  # fmt: skip

    async def event(self, name: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """The `count`th event of this name with these fields, as soon as it is logged."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            found = [
                line
                for line in self.lines()
                if line["event"] == name and fields.items() <= line.items()
            ]
            if len(found) >= count:
                return found[count - 1]
            assert self.ending or self.process.poll() is None, self.lines()
            await asyncio.sleep(0.02)
        raise AssertionError(f"no {name} #{count}: {self.lines()}")

    async def client(self) -> Any:
        return self.lab.Client(*await asyncio.open_connection("127.0.0.1", self.port))

    async def ask(self, data: bytes, port: int = 0) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        writer.write(data)
        answer = await self.lab.Client(reader, writer).answer()
        writer.close()
        return answer

    async def admin(self, path: str) -> Any:
        return await self.ask(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode(), self.admin_port)

    async def metric(self, name: str) -> float:
        """The sum over all labels of one metric."""
        text = (await self.admin("/metrics")).body.decode()
        return sum(float(n) for n in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))

    async def settles(self, name: str, value: float) -> None:
        """Wait until the metric has this value."""
        deadline = time.monotonic() + DEADLINE_S
        while (found := await self.metric(name)) != value:
            assert time.monotonic() < deadline, f"{name} is {found}, not {value}"
            await asyncio.sleep(0.05)

    def children(self) -> list[int]:
        """Process ids of the data processes."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.ending = True
        self.process.send_signal(number)

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, DEADLINE_S)


@asynccontextmanager
async def serving(lab: Any, folder: Path, *flags: str, workers: int = 1) -> AsyncIterator[Command]:
    """A router with these flags and `workers` ready workers, on free ports."""
    log = folder / f"log-{time.monotonic_ns()}"
    argv = [sys.executable, "-m", "sglrouter", "serve", *flags]
    if "--config" not in flags:
        argv += ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, env=os.environ)  # noqa: ASYNC220
    router = Command(lab, process, log)
    try:
        started = await router.event("started")
        router.port = int(started["listen"].rpartition(":")[2])
        router.admin_port = int(started["admin_port"])
        await router.settles("sglrouter_ready_workers", workers)
        yield router
    finally:
        process.kill()
        process.wait()
