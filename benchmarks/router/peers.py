"""The routers that are compared: how each is installed, configured and started."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.router.processes import free_ports
from benchmarks.router.prompts import KEY
from benchmarks.router.worker import MODEL
from sglctl.images.wheels import build_project_wheel

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "bench.txt"
OUR_LOCK = ROOT / "requirements" / "router.txt"
SYSTEM_PYTHON = Path("/usr/bin/python3")
OURS, OURS_TWO, NGINX = "sglctl", "sglctl, 2 processes", "nginx"
SGLANG, SMG = "sglang-router", "smg"
_INSTALL_S = 600


class MissingError(Exception):
    """A program the comparison needs is not there; the text says how to get it."""


@dataclass(frozen=True)
class Start:
    """How to start a router: its command line and data port."""

    name: str
    argv: Sequence[str]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)


def cache_home() -> Path:
    """`SGLCTL_CACHE_DIR`, else the XDG cache folder, as sglctl itself has it."""
    if value := os.environ.get("SGLCTL_CACHE_DIR"):
        return Path(value).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "sglctl"


def others_bin() -> Path:
    """The `bin` of the other routers' virtual environment; made, once per lock, where absent."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    target = cache_home() / f"bench-{digest}"
    if not (target / "complete").exists():
        uv = str(Path(sys.executable).parent / "uv")
        sys.stderr.write("Installing sglang-router and smg (once) ...\n")
        for command in (
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(target)],
            [uv, "pip", "sync", "--quiet", "--python", str(target), "--require-hashes", str(LOCK)],
        ):
            subprocess.run(command, check=True, timeout=_INSTALL_S)
        (target / "complete").touch()
    return target / "bin"


@lru_cache(maxsize=1)
def our_python() -> str:
    """The interpreter a router image has, with what an image installs; kept in the cache.

    Debian's own Python (Ubuntu's is built alike) where this machine has it, else this one: other
    builds may lack the optimisation by profile and cost a fifth more.
    """
    if not SYSTEM_PYTHON.exists():
        return sys.executable
    digest = hashlib.sha256(OUR_LOCK.read_bytes()).hexdigest()[:12]
    target = cache_home() / f"bench-ours-{digest}"
    python = str(target / "bin" / "python")
    uv = str(Path(sys.executable).parent / "uv")
    commands: list[list[str]] = []
    if not (target / "complete").exists():
        commands = [
            [uv, "venv", "--quiet", "--clear", "--python", str(SYSTEM_PYTHON), str(target)],
            [uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", str(OUR_LOCK)],
        ]
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_project_wheel(ROOT, "router", Path(folder))
        commands.append(
            [uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--reinstall",
             str(wheel)]
        )  # fmt: skip
        for command in commands:
            subprocess.run(command, check=True, timeout=_INSTALL_S)
    (target / "complete").touch()
    return python


def ours(folder: Path, workers: Sequence[int], *, processes: int = 1, **changes: Any) -> Start:
    """Our router with what it has in production: keys, metrics, retries, prefix_aware, its log."""
    port, admin = free_ports(2)
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"bench": KEY}))
    document = {
        "environment": "local",
        "listen": {
            "host": "127.0.0.1",
            "port": port,
            "admin_host": "127.0.0.1",
            "admin_port": admin,
            "processes": processes,
        },
        "fleets": {"chat": {"models": [MODEL], "max_in_flight_per_worker": 4096}},
        "limits": {"drain_notice_s": 0, "drain_s": 1},
        "keys": {"file": str(keys)},
        "discovery": {
            "kind": "static",
            "workers": [{"url": f"http://127.0.0.1:{p}", "fleet": "chat"} for p in workers],
        },
        **changes,
    }
    path = folder / "router.json"
    path.write_text(json.dumps(document))
    argv = [our_python(), "-m", "sglrouter", "serve", "--config", str(path)]
    return Start(OURS if processes == 1 else OURS_TWO, argv, port)


def nginx(folder: Path, workers: Sequence[int]) -> Start:
    program = shutil.which("nginx")
    if program is None:
        raise MissingError("nginx is not installed: apt-get install --no-install-recommends nginx")
    (port,) = free_ports(1)
    template = (Path(__file__).parent / "nginx.conf").read_text()
    path = folder / "nginx.conf"
    servers = " ".join(f"server 127.0.0.1:{p};" for p in workers)
    path.write_text(template.format(folder=folder, files=16384, port=port, servers=servers))
    argv = [program, "-p", str(folder), "-e", str(folder / "nginx-error.log"), "-c", str(path)]
    return Start(NGINX, argv, port)


def _rust(name: str, program: str, workers: Sequence[int], *flags: str) -> Start:
    port, prometheus = free_ports(2)
    argv = [
        *(str(others_bin() / program), "launch", "--host", "127.0.0.1", "--port", str(port)),
        *("--worker-urls", *(f"http://127.0.0.1:{p}" for p in workers)),
        *("--policy", "cache_aware", "--prometheus-port", str(prometheus)),
        *("--log-level", "warn", *flags),
    ]
    return Start(name, argv, port, {"HF_HUB_OFFLINE": "1"})


def sglang_router(folder: Path, workers: Sequence[int], *flags: str) -> Start:
    return _rust(SGLANG, "sglang-router", workers, *flags)


def smg(folder: Path, workers: Sequence[int], *flags: str) -> Start:
    return _rust(SMG, "smg", workers, *flags)
