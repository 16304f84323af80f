"""What every kept run says of itself, and where it is kept."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.router.page import cpu_model

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def preamble(**machine: Any) -> dict[str, Any]:
    """When, of which commit and on which machine; `machine`: more about the latter."""
    return {
        "version": 1,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "architecture": platform.machine(),
            "cpu": cpu_model(),
            "python": platform.python_version(),
            **machine,
        },
    }


def _commit() -> str:
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    return result.stdout.strip() or "unknown"


def save(result: Mapping[str, Any], name: str) -> Path:
    """Keep a run in the repository: benchmarks/results/<name>-<date>.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{result['at'][:10]}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path
