"""A checkout of its own for every module, and `sglctl` run as its users run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
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


def copy_checkout(target: Path) -> Path:
    """The files git knows or would add, copied: tests may edit config/ there."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("state")


def leftovers(state: Path) -> dict[str, list[str]]:
    """Processes, mounts, namespaces and cgroups that mention a state folder or its hub."""
    found: dict[str, list[str]] = {"processes": [], "mounts": []}
    marker = str(state)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if marker in line and int(process.name) != os.getpid():
            found["processes"].append(f"{process.name} {line[:120]}")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found["mounts"] = [line for line in mounts if marker in line]
    return {kind: lines for kind, lines in found.items() if lines}
