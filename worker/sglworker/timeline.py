"""When each phase of a worker's way into service began: pure, with given clocks.

Instants are kept in seconds of the boot clock (CLOCK_BOOTTIME), so that durations survive a jump
of the wall clock and a restart of the agent; they are dated when they are told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sglworker.models import Phase, PhaseName, StateName

#: What a state that is entered for the first time begins.
_BEGINS: Mapping[StateName, PhaseName] = {
    "hydrating": "hydrate",
    "warmed": "warmed",
    "starting": "engine_start",
    "warming_up": "warm_up",
    "ready": "ready",
}


def boot_clock() -> float:
    """Seconds since the kernel booted, suspensions included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_at() -> float | None:
    """When this host's first process began, in seconds of the boot clock; None if not known."""
    try:
        fields = Path("/proc/1/stat").read_text().rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


@dataclass
class Timeline:
    """First begin of each phase, and how long each warm-up generation took.

    `begun`: phase → seconds of the boot clock; negative before the boot. The first is kept: an
    engine that is lost and comes back is no scale-out.
    """

    clock: Callable[[], float] = boot_clock
    begun: dict[PhaseName, float] = field(default_factory=dict)
    warm_ups: dict[str, float] = field(default_factory=dict)

    def enter(self, state: StateName) -> None:
        """A state begins; from the pool into service the phases begin anew."""
        if state == "warmed":
            gone: tuple[PhaseName, ...] = ("engine_start", "warm_up", "ready", "first_request")
            for phase in gone:
                self.begun.pop(phase, None)
            self.warm_ups.clear()
        if state in _BEGINS:
            self.mark(_BEGINS[state])

    def mark(self, phase: PhaseName, at: float | None = None) -> None:
        self.begun.setdefault(phase, self.clock() if at is None else at)

    def took(self, shape: str, seconds: float) -> None:
        """How long a warm-up generation took; the first of its shape, which is the slow one."""
        self.warm_ups.setdefault(shape, round(seconds, 3))

    def launched(self, at: datetime, now: datetime, boot_at: float | None) -> None:
        """EC2 launched (or started again) the instance at `at`; its first process came later.

        A process host's first process is its machine's: one that is older than the launch tells
        nothing of this instance.
        """
        launch = self.clock() - max(0.0, (now - at).total_seconds())
        self.mark("launch", launch)
        if boot_at is not None and boot_at >= self.begun["launch"]:
            self.mark("boot", boot_at)

    def told(self, now: datetime) -> tuple[Phase, ...]:
        """The phases in the order of their begin; `seconds` until the next one began."""
        clock = self.clock()
        order = sorted(self.begun.items(), key=lambda item: item[1])
        ends: list[float | None] = [at for _, at in order[1:]]
        return tuple(
            Phase(
                name=name,
                at=_whole_second(now - timedelta(seconds=clock - at)),
                seconds=None if end is None else round(end - at, 3),
            )
            for (name, at), end in zip(order, [*ends, None], strict=False)
        )


def _whole_second(at: datetime) -> datetime:
    return (at + timedelta(seconds=0.5)).replace(microsecond=0)
