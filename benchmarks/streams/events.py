"""What happened to instances and when, as the emulator's log and the routers' logs tell it.

Both have milliseconds of this machine's wall clock, as the clients' times are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

_STAMP = r"^(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) "
_LEAVES = re.compile(_STAMP + r".*: group (?P<group>\S+): (?P<id>i-\w+) leaves ")
_COMPLETED = re.compile(_STAMP + r".*: hook terminate of (?P<id>i-\w+) completed with ")


def _seconds(stamp: str) -> float:
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp()


def _found(pattern: re.Pattern[str], lines: Iterable[str]) -> dict[str, float]:
    matches = (pattern.match(line) for line in lines)
    return {match["id"]: _seconds(match["at"]) for match in matches if match}


def leaving(lines: Iterable[str], group: str) -> dict[str, float]:
    """Instance id → when its group decided to terminate it: its metadata says so from then on."""
    return _found(_LEAVES, (line for line in lines if f"group {group}: " in line))


def completed(lines: Iterable[str]) -> dict[str, float]:
    """Instance id → when CompleteLifecycleAction of its terminate hook arrived."""
    return _found(_COMPLETED, lines)


def chosen(logs: Iterable[Path], workers: Iterable[str]) -> dict[str, float]:
    """Worker → when a router last chose it for a request.

    A request's line is written at its end. `duration_ms` leads back to its begin, and `queue_ms`
    from there to the choice; a request that was tried again is dated by its first byte.
    """
    wanted = set(workers)
    last: dict[str, float] = {}
    for path in logs:
        for line in path.read_text(errors="replace").splitlines():
            if '"event":"request"' not in line:
                continue
            said = json.loads(line)
            if said.get("worker") in wanted and said.get("tier") != "peer":
                at = _choice(said)
                last[said["worker"]] = max(at, last.get(said["worker"], 0.0))
    return last


def _choice(said: dict[str, float]) -> float:
    begun = said["ts"] - said["duration_ms"] / 1000
    later = said["queue_ms"] if said["attempts"] == 1 else said["first_byte_ms"]
    return begun + (later or 0.0) / 1000


def discovery_failed(console: str | Path, since: float) -> bool:
    """Whether a router has been refused the list of workers since then."""
    lines = Path(console).read_text(errors="replace").splitlines()
    found = (json.loads(line) for line in lines if '"event":"discovery_failed"' in line)
    return any(said["ts"] >= since for said in found)
