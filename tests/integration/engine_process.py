"""Real SGLang engines on this machine's CPU: an environment kept in the cache, and processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from sglctl.context import cache_home
from sglctl.errors import ImageError
from sglctl.images.wheels import (
    DOWNLOAD_DEADLINE_S,
    ENGINE_PLATFORM,
    build_engine_platform_wheel,
    pip_reason,
)

ROOT = Path(__file__).resolve().parents[2]
LOCKS = tuple(
    ROOT / "requirements" / name for name in ("engine-cpu.txt", "engine-cpu-disaggregated.txt")
)
START_TIMEOUT_S = 480.0
UNUSED_S = 7 * 86_400.0
CONTEXT = 4096
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def free_port() -> int:
    """A loopback port below the ephemeral ones, so that no connection takes it meanwhile."""
    for port in random.sample(range(20_000, 32_000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port from 20000 to 31999")


def engine_home() -> Path:
    """A folder with `venv` and `model`; made once (1.8 GB, about two minutes), then kept.

    Skips the test where the environment cannot be had, with pip's reason.
    """
    home = cache_home() / "engine-cpu" / _digest()
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            _make(home)
            _forget_old(home.parent)
        (home / "complete").touch()
    return home


def _digest() -> str:
    content = hashlib.sha256(sys.version.encode())
    sources = sorted((ROOT / ENGINE_PLATFORM).rglob("*.py"))
    for path in (*LOCKS, ROOT / ENGINE_PLATFORM / "pyproject.toml", *sources):
        content.update(path.read_bytes())
    return content.hexdigest()[:16]


def _make(home: Path) -> None:
    python = str(home / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-input"]
    locked = [*pip, "--require-hashes", "--only-binary=:all:"]
    _run([sys.executable, "-m", "venv", "--clear", str(home / "venv")])
    for lock in LOCKS:
        _run([*locked, "--requirement", str(lock)])
    try:
        wheel = build_engine_platform_wheel(ROOT, home)
    except ImageError as error:
        pytest.skip(f"no CPU engine: {error}")
    _run([*pip, "--no-index", str(wheel)])
    _run([python, "-m", "sglang_cpu_platform.tiny_model", str(home / "model")])


def _forget_old(homes: Path) -> None:
    """Remove environments of earlier locks that nobody has used for a while."""
    for complete in homes.glob("*/complete"):
        if time.time() - complete.stat().st_mtime > UNUSED_S:
            shutil.rmtree(complete.parent)


def _run(command: Sequence[str]) -> None:
    environment = os.environ | _ENVIRONMENT
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=DOWNLOAD_DEADLINE_S, env=environment
    )
    if done.returncode:
        pytest.skip(f"no CPU engine: {pip_reason(done.stderr)}")


def require_transfer(home: Path) -> None:
    """Skip where Mooncake's transfer engine cannot load."""
    command = [str(home / "venv/bin/python"), "-c", "from mooncake.engine import TransferEngine"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        pytest.skip(f"no KV transfer here (apt-get install libibverbs1): {reason}")


@dataclass
class EngineProcess:
    """One SGLang process on a port of its own; `port` of the bootstrap server for prefill."""

    home: Path
    log: Path
    flags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    def start(self) -> None:
        command = [
            str(self.home / "venv/bin/python"), "-m", "sglang.launch_server",
            "--device", "cpu", "--attention-backend", "torch_native", "--disable-cuda-graph",
            "--model-path", str(self.home / "model"), "--served-model-name", "tiny",
            "--host", "127.0.0.1", "--port", str(self.port), "--context-length", str(CONTEXT),
            "--max-total-tokens", "16384", "--max-running-requests", "32", "--random-seed", "0",
            "--enable-metrics", "--enable-cache-report", "--sleep-on-idle",
            "--log-level-http", "warning", *self.flags,
        ]  # fmt: skip
        environment = os.environ | _ENVIRONMENT | self.environment
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Until /health answers 200; fails with the log's end."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=10, trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        self.kill()
        pytest.fail(f"SGLang did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def kill(self) -> None:
        """End it and its children at once, as a lost instance does; twice is once."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(30)
