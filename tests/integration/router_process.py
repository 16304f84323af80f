"""A real `sglrouter serve` before workers of a test, and stub engines as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.integration.engine_process import free_port

DEADLINE_S = 60.0


def until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_S) -> None:
    """Wait for what another process does; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not become true within {seconds:g} s")
        time.sleep(0.02)


class RouterProcess:
    """A running router: `url` for clients, `admin` for its metrics."""

    def __init__(self, document: Mapping[str, Any], folder: Path) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        listen = {
            "host": "127.0.0.1", "port": self.port,
            "admin_host": "127.0.0.1", "admin_port": self.admin_port,
        }  # fmt: skip
        self.log = folder / f"router-{self.port}.log"
        self.config = folder / f"router-{self.port}.json"
        self.document = {**document, "listen": {**listen, **document.get("listen", {})}}
        self.config.write_text(json.dumps(self.document))

    def start(self) -> None:
        command = [sys.executable, "-m", "sglrouter", "serve", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def ready(self, workers: int) -> bool:
        """Whether so many workers may be chosen now."""
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        try:
            answer = httpx.get(f"{self.url}/health", timeout=5, trust_env=False)
            return bool(answer.json().get("ready_workers", 0) >= workers)
        except (httpx.HTTPError, ValueError):
            return False

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def workers(self) -> list[dict[str, Any]]:
        """`GET /workers`."""
        rows: list[dict[str, Any]] = self._admin("/workers").json()["workers"]
        return rows

    def metrics(self) -> str:
        """`GET /metrics`."""
        return self._admin("/metrics").text

    def at_rest(self) -> bool:
        """Nothing in flight: neither by its workers nor by its gauges."""
        names = ("in_flight", "queue_depth", "worker_in_flight")
        gauges = [
            line
            for line in self.metrics().splitlines()
            if line.startswith(tuple(f"sglrouter_{name}{{" for name in names))
        ]
        assert len(gauges) >= len(names), "the metrics lack what at_rest reads"
        busy = any(float(line.rpartition(" ")[2]) for line in gauges)
        return not busy and not any(worker["in_flight"] for worker in self.workers())

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        lines = [json.loads(x) for x in self.log.read_text().splitlines() if x.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def _admin(self, path: str) -> httpx.Response:
        return httpx.get(self.admin + path, timeout=10, trust_env=False).raise_for_status()


@contextmanager
def router(
    folder: Path, workers: Sequence[Mapping[str, Any]], *, ready: int | None = None, **more: Any
) -> Iterator[RouterProcess]:
    """A router of one fleet `chat` (model `tiny`) with static workers, once they are ready."""
    document = {
        "environment": "local",
        "fleets": {"chat": {"models": ["tiny"], **more.pop("fleet", {})}},
        "limits": {"drain_notice_s": 0, "drain_s": 5},
        "discovery": {
            "kind": "static", "state_interval_s": 0.1,
            "workers": [{"fleet": "chat", **worker} for worker in workers],
        },
        **more,
    }  # fmt: skip
    process = RouterProcess(document, folder)
    process.start()
    try:
        wanted = len(workers) if ready is None else ready
        until(lambda: process.ready(wanted), f"{wanted} ready workers")
        yield process
    finally:
        process.stop()


class StubProcess:
    """`python -m sglocal.stub_engine` on a port of its own."""

    def __init__(self, folder: Path, *flags: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            sys.executable, "-m", "sglocal.stub_engine", "--model-path", "m",
            "--served-model-name", "tiny", "--port", str(self.port), *flags,
        ]  # fmt: skip
        with (folder / f"stub-{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))

    def fault(self, **faults: Any) -> None:
        httpx.post(f"{self.url}/stub/faults", json=faults, trust_env=False).raise_for_status()

    def state(self) -> dict[str, Any]:
        document: dict[str, Any] = httpx.get(f"{self.url}/stub/state", trust_env=False).json()
        return document

    def kill(self) -> None:
        """End it at once; twice is once."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
