"""What an agent remembers when it restarts within one boot.

Instants are of CLOCK_MONOTONIC, which every process of a boot shares: a drain's deadline means the
same to the next agent. A file of another boot is not read.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sglworker.drain import Drain, Trigger
from sglworker.faults import Starts
from sglworker.models import PhaseName, StateName
from sglworker.worker import Worker

logger = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FIRST_PROCESS = Path("/proc/1/stat")
_START_TIME_FIELD = 19  # of what follows the command's name, proc(5)


class SavedDrain(BaseModel):
    """A drain that was on; `over` when the worker was drained already."""

    model_config = ConfigDict(frozen=True)

    triggers: frozenset[Trigger]
    started_at: float
    deadline_at: float
    busy: int
    lost: int
    over: bool


class Saved(BaseModel):
    """The file `agent-state.json` of the run directory."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    boot: str
    reason: str
    drain: SavedDrain | None = None
    cut_streams: int = 0
    read_failures: int = 0
    engine_starts: int = 0
    start_times: tuple[float, ...] = ()
    engine_pid: int = 0
    transitions: dict[StateName, int] = {}
    timeline: dict[PhaseName, float] = {}
    warm_up_s: dict[str, float] = {}


def boot_name() -> str:
    """This boot of this host; a container shares its kernel's id, but not its first process."""
    try:
        fields = _FIRST_PROCESS.read_text().rpartition(")")[2].split()
        return f"{_BOOT_ID.read_text().strip()}/{fields[_START_TIME_FIELD]}"
    except (OSError, IndexError):
        return "unknown"


def remember(worker: Worker, boot: str) -> Saved:
    """What the worker's next agent has to know."""
    drain = worker.drain
    kept = drain.triggers - {Trigger.SIGTERM} if drain else frozenset()
    return Saved(
        boot=boot,
        reason=worker.machine.reason,
        drain=SavedDrain(
            triggers=kept,
            started_at=drain.started_at,
            deadline_at=drain.deadline_at,
            busy=drain.busy,
            lost=drain.lost,
            over=worker.state == "drained",
        )
        if drain and kept  # a stopped agent's own drain ends with it
        else None,
        cut_streams=worker.cut_streams,
        read_failures=worker.read_failures,
        engine_starts=worker.engine_starts,
        start_times=worker.starts.times,
        engine_pid=worker.starts.pid,
        transitions=dict(worker.transitions),
        timeline=worker.timeline.begun,
        warm_up_s=worker.timeline.warm_ups,
    )


def parse_saved(text: str, boot: str) -> Saved | None:
    """None when the file is of another boot, or makes no sense (then that is logged)."""
    try:
        saved = Saved.model_validate_json(text)
    except ValidationError as error:
        logger.warning("the last agent's state cannot be used: %s", error)
        return None
    return saved if saved.boot == boot else None


def restore(worker: Worker, saved: Saved) -> None:
    """Take over counters, timeline and engine starts; the drain is resumed when booted."""
    worker.cut_streams = saved.cut_streams
    worker.read_failures = saved.read_failures
    worker.engine_starts = saved.engine_starts
    worker.starts = Starts(saved.start_times, saved.engine_pid)
    worker.transitions.update(saved.transitions)
    worker.timeline.begun |= saved.timeline
    worker.timeline.warm_ups |= saved.warm_up_s
    if saved.drain is not None:
        worker.resumed = (_drain(saved.drain), saved.drain.over, saved.reason)


def _drain(saved: SavedDrain) -> Drain:
    order = list(Trigger)
    values: dict[str, Any] = saved.model_dump(exclude={"triggers", "over"})
    return Drain(trigger=max(saved.triggers, key=order.index), joined=saved.triggers, **values)
