"""When an engine or its GPU is beyond help: pure decisions over what was seen and a given clock."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

#: systemd's own limit on the engine's unit (`StartLimitBurst`, `StartLimitIntervalSec`).
CRASH_LOOP_STARTS, CRASH_LOOP_S = 5, 600.0
#: So long without a sign of generation, and so many failed checks, and the engine hangs.
HUNG_AFTER_S, HUNG_CHECKS = 60.0, 2
#: nvidia-smi(1), RETURN VALUE: 9 driver not loaded, 15 fallen off the bus.
_GPU_EXITS = {9: "the NVIDIA driver is not loaded", 15: "a GPU has fallen off the bus"}
_GPU_WORDS = ("GPU is lost", "fallen off the bus", "Unable to determine the device handle")
#: Errors after which a GPU needs a reset or a new host: double-bit ECC, failed row remapping, off
#: the bus, uncontained memory error, GSP timeout and error, unrecovered ECC.
#: https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html
FATAL_XIDS = frozenset({48, 64, 79, 95, 119, 120, 140})
_XID = re.compile(r"NVRM: Xid \((?P<device>[^)]*)\): (?P<number>\d+)")


@dataclass(frozen=True)
class Starts:
    """The engine's starts, as `sglworker engine` told them. Times in monotonic seconds."""

    times: tuple[float, ...] = ()
    pid: int = 0

    def started(self, pid: int, at: float) -> Starts:
        recent = (*self.times, at)[-CRASH_LOOP_STARTS:]
        return Starts(recent, pid)

    def loop(self, now: float, alive: Callable[[int], bool]) -> str:
        """Why nobody starts the engine again; empty while somebody does, or it lives."""
        recent = [at for at in self.times if now - at <= CRASH_LOOP_S]
        if len(recent) < CRASH_LOOP_STARTS or alive(self.pid):
            return ""
        return f"the engine ended {len(recent)} times in {now - recent[0]:.0f} s"


@dataclass(frozen=True)
class Liveness:
    """Deep checks of a ready engine. Times in monotonic seconds."""

    good_at: float
    misses: int = 0

    def checked(self, generates: bool, at: float) -> Liveness:
        return Liveness(at) if generates else replace(self, misses=self.misses + 1)

    def hung(self, now: float) -> bool:
        return self.misses >= HUNG_CHECKS and now - self.good_at >= HUNG_AFTER_S


def gpu_fault(exit_code: int, output: str, was_well: bool) -> str:
    """What nvidia-smi says is wrong; empty where nothing is, or nothing can be said.

    `was_well`: whether it found the GPUs before. A missing driver is a fault only then: this agent
    may start before the driver.
    """
    for words in _GPU_WORDS:
        if words in output:
            return f"nvidia-smi: {words}"
    if exit_code == 15 or (was_well and exit_code in _GPU_EXITS):
        return f"nvidia-smi: {_GPU_EXITS[exit_code]}"
    if was_well and "No devices were found" in output:
        return "nvidia-smi: no GPU is found any more"
    return ""


def xid_fault(journal: str) -> str:
    """The first fatal Xid in lines of the kernel's log; empty without one."""
    for match in _XID.finditer(journal):
        if int(match["number"]) in FATAL_XIDS:
            return f"Xid {match['number']} of GPU {match['device']}"
    return ""
