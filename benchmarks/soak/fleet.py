"""The processes of a soak: a router and its workers, each of which may be killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp

FIRST_BYTE_S = 1.0
START_S = 60.0


class SoakError(Exception):
    """The soak itself broke: a process did not start, or is gone."""


def free_ports(count: int) -> list[int]:
    """Loopback ports below the ephemeral ones, so that no connection takes one meanwhile."""
    found = []
    for port in random.sample(range(12_000, 32_000), 2_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise SoakError("no free ports")


class Fleet:
    """Start with `start`; whatever happens, `close`."""

    def __init__(self, folder: Path, workers: int, processes: int, seed: int) -> None:
        self.folder, self.processes, self._seed = folder, processes, seed
        self.port, self.admin_port, *self.ports = free_ports(workers + 2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._starts = 0
        self.router: subprocess.Popen[bytes] | None = None

    def document(self) -> dict[str, Any]:
        urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        return {
            "environment": "local",
            "listen": {
                "host": "127.0.0.1", "port": self.port, "admin_host": "127.0.0.1",
                "admin_port": self.admin_port, "processes": self.processes,
            },
            "affinity": {"index_bytes": 1 << 20},
            "fleets": {"soak": {"models": ["soak"], "first_byte_timeout_s": FIRST_BYTE_S,
                                "max_in_flight_per_worker": 32}},
            "limits": {"drain_notice_s": 0, "drain_s": 5},
            "discovery": {
                "kind": "static", "state_interval_s": 0.2,
                "workers": [{"url": url, "agent_url": url, "fleet": "soak"} for url in urls],
            },
        }  # fmt: skip

    def start(self) -> None:
        """Start all processes; `until_ready` waits for them."""
        for port in self.ports:
            self.start_worker(port)
        config = self.folder / "router.json"
        config.write_text(json.dumps(self.document()))
        command = [sys.executable, "-m", "sglrouter", "serve", "--config", str(config)]
        with (self.folder / "router.log").open("ab") as log:
            self.router = subprocess.Popen(command, stdout=log, stderr=log)

    async def until_ready(self, count: int) -> None:
        """Raises SoakError when so many workers are not ready in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        async with aiohttp.ClientSession(trust_env=False) as session:
            while loop.time() < deadline:
                if self.router is None or self.router.poll() is not None:
                    raise SoakError(f"the router ended; see {self.folder}/router.log")
                try:
                    async with session.get(f"{self.url}/health") as answer:
                        if (await answer.json()).get("ready_workers", 0) >= count:
                            return
                except (aiohttp.ClientError, OSError):
                    pass
                await asyncio.sleep(0.1)
        raise SoakError(f"{count} workers were not ready within {START_S:g} s")

    def start_worker(self, port: int) -> None:
        """Start it, or start it again after `kill_worker`."""
        self._starts += 1
        seed = self._seed * 1000 + self._starts
        command = [sys.executable, "-m", "benchmarks.soak.worker",
                   "--port", str(port), "--seed", str(seed)]  # fmt: skip
        with (self.folder / f"worker-{port}.log").open("ab") as log:
            self._workers[port] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill_worker(self, port: int) -> None:
        worker = self._workers[port]
        worker.kill()
        worker.wait()

    def reload(self) -> None:
        assert self.router is not None
        self.router.send_signal(signal.SIGHUP)

    def data_processes(self) -> list[int]:
        """Process ids of the router's data processes; of one process, none beside itself."""
        assert self.router is not None
        children = Path(f"/proc/{self.router.pid}/task/{self.router.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def kill_data_process(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End what runs, by its process id."""
        if self.router is not None and self.router.poll() is None:
            self.router.terminate()
            try:
                self.router.wait(30)
            except subprocess.TimeoutExpired:
                self.router.kill()
                self.router.wait()
        for port in self._workers:
            self.kill_worker(port)
