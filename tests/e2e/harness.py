"""A checkout of its own, and `sglctl` run as its users run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Sglctl:
    """`sglctl` in a checkout, with state of its own and the machine's cache."""

    root: Path
    state: Path
    environment: str
    extra: dict[str, str]

    def run(
        self, *args: str, expect: int | None = 0, timeout_s: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; fail with its whole output when the exit code is not `expect`."""
        command = [sys.executable, "-m", "sglctl", *args]
        result = subprocess.run(
            command, cwd=self.root, env=self.env(), capture_output=True, text=True,
            timeout=timeout_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if expect is not None and result.returncode != expect:
            pytest.fail(
                f"sglctl {' '.join(args)}: exit {result.returncode}, expected {expect}\n"
                f"--- stdout\n{result.stdout[-6000:]}\n--- stderr\n{result.stderr[-6000:]}"
            )
        return result

    def json(self, *args: str, expect: int | None = 0, timeout_s: float = 600) -> Any:
        result = self.run(*args, "--output", "json", expect=expect, timeout_s=timeout_s)
        return json.loads(result.stdout)["result"]

    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SGLCTL_"))}
        cache = os.environ.get("SGLCTL_CACHE_DIR")
        return {
            **kept,
            **({"SGLCTL_CACHE_DIR": cache} if cache else {}),
            "SGLCTL_ENV": self.environment,
            "SGLCTL_STATE_DIR": str(self.state),
            "SGLCTL_ROOT": str(self.root),
            **self.extra,
        }


def copy_checkout(target: Path, *, link_venv: bool = True) -> Path:
    """The files git knows or would add, copied: tests may edit config/ there.

    `link_venv` False: a clone without its virtual environment, as `make` meets it.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    if link_venv:
        (target / ".venv").symlink_to(Path(sys.executable).parents[1])
    return target


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def move_listener(checkout: Path, environment: str) -> None:
    """Another listener port than the file's: a fleet of the user's may be running here."""
    file = checkout / "config" / "environments" / f"{environment}.yaml"
    text, changed = re.subn(
        r"listener_port: \d+", f"listener_port: {free_port()}", file.read_text(), count=1
    )
    assert changed == 1
    file.write_text(text)


def leftovers(state: Path, hub: str | None) -> dict[str, list[str]]:
    """Processes, mounts, namespaces and cgroups of an environment that should be gone."""
    marker = str(state)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = {
        "processes": [line for line in _command_lines() if marker in line],
        "mounts": [line for line in mounts if marker in line],
    }
    if hub:
        namespaces = Path("/run/netns")
        names = [p.name for p in namespaces.iterdir()] if namespaces.is_dir() else []
        found["namespaces"] = [name for name in names if name.startswith(hub)]
        found["cgroups"] = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{hub}*")]
    return {kind: lines for kind, lines in found.items() if lines}


def _command_lines() -> list[str]:
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            raw = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if int(process.name) != os.getpid():
            lines.append(f"{process.name} {raw.replace(bytes(1), b' ').decode(errors='replace')}")
    return lines


def emulator_endpoint(sglctl: Sglctl) -> dict[str, Any]:
    """The endpoint.json of a running environment."""
    file = sglctl.state / sglctl.environment / "local" / "endpoint.json"
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def emulator_log(sglctl: Sglctl, lines: int) -> str:
    """The end of the daemon's log: refused calls and answers that were lost are there."""
    file = sglctl.state / sglctl.environment / "local" / "daemon.log"
    if not file.is_file():
        return f"--- no {file}"
    return "\n--- emulator\n" + "\n".join(file.read_text().splitlines()[-lines:])


def await_ssh(ssh: list[str], deadline_s: float = 300.0) -> None:
    """Wait until `ssh` with these arguments logs in: a host is up before its sshd answers."""
    deadline = time.monotonic() + deadline_s
    command = ["ssh", "-o", "ConnectTimeout=5", "-o", "BatchMode=yes", *ssh, "true"]
    while True:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if tried.returncode == 0:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"no ssh within {deadline_s:g} s: {tried.stderr[-1000:]}")
        time.sleep(0.2)


def emulator_client(where: dict[str, Any], service: str) -> Any:
    import boto3

    return boto3.client(
        service, endpoint_url=where["endpoint"], region_name=where["region"],
        aws_access_key_id="sglocal", aws_secret_access_key="sglocal",
    )  # fmt: skip
