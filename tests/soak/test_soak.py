"""A short soak: the long one is `make soak`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("processes", "requests"), [(1, 1200), (2, 1800)])
def test_every_client_is_told_the_truth_under_faults(processes: int, requests: int) -> None:
    """Workers and processes die, drain and hang; no outcome is left unexplained, nothing leaks."""
    command = [sys.executable, "-m", "benchmarks.soak", "--requests", str(requests),
               "--processes", str(processes)]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "complete" in done.stdout
