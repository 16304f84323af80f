"""The fuzz targets, for a few seconds each; by hand they run longer (see their texts)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 500
TARGETS = ["fuzz_request.py"]


@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzz_target_finds_nothing_in_a_short_run(name, tmp_path):
    """In a process of its own: libFuzzer takes over signals and the exit."""
    pytest.importorskip("atheris", reason="atheris has no build for this Python")
    target = Path(__file__).parent / name
    done = subprocess.run(
        [sys.executable, str(target), "--runs", str(RUNS), "--seed", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {RUNS} runs" in done.stderr
