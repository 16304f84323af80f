"""What an engine and its GPUs may do wrong, and what becomes of the worker."""

from __future__ import annotations

import asyncio
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import worker_fakes as fakes
from agent_world import GROUP, World, live
from hypothesis import given
from hypothesis import strategies as st

from sglworker import agent as agent_module
from sglworker import gpu
from sglworker.drain import Load, Trigger
from sglworker.faults import (
    CRASH_LOOP_STARTS,
    Liveness,
    Starts,
    gpu_fault,
    xid_fault,
)
from sglworker.machine import Event
from sglworker.worker import Worker


def starts_at(*times: float) -> Starts:
    starts = Starts()
    for number, at in enumerate(times):
        starts = starts.started(100 + number, at)
    return starts


LOOPS: dict[str, tuple[Starts, float, bool, bool]] = {
    "never started": (Starts(), 5, False, False),
    "four ends": (starts_at(0, 5, 10, 15), 20, False, False),
    "five starts, the last one runs": (starts_at(0, 5, 10, 15, 20), 25, True, False),
    "five ends": (starts_at(0, 5, 10, 15, 20), 25, False, True),
    "five ends, slowly": (starts_at(0, 200, 400, 600, 800), 810, False, False),
    "five of nine within ten minutes": (starts_at(*range(0, 1200, 140)), 1125, False, True),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_crash_loop_is_what_systemd_gives_up_on(name: str) -> None:
    """Five starts in ten minutes, and nothing runs any more."""
    starts, now, alive, expected = LOOPS[name]
    assert bool(starts.loop(now, lambda _pid: alive)) is expected


@given(st.lists(st.floats(0, 5000), max_size=40))
def test_a_running_engine_is_never_a_crash_loop(gaps: list[float]) -> None:
    """However often it was started."""
    starts, now = Starts(), 0.0
    for gap in gaps:
        now += gap
        starts = starts.started(1, now)
    assert starts.loop(now, lambda _pid: True) == ""
    assert len(starts.times) <= CRASH_LOOP_STARTS


def test_one_slow_check_is_not_a_hung_engine() -> None:
    """Two misses and a minute; one good check begins the count anew."""
    liveness = Liveness(0.0).checked(generates=False, at=70.0)
    assert not liveness.hung(70.0)
    assert liveness.checked(generates=False, at=85.0).hung(85.0)
    assert not liveness.checked(generates=True, at=85.0).hung(90.0)


GPUS: dict[str, tuple[int, str, bool, str]] = {
    "well": (0, "GPU 0: NVIDIA L4 (UUID: GPU-1)\n", True, ""),
    "off the bus": (15, "", False, "fallen off the bus"),
    "lost": (255, "Unable to determine the device handle for GPU 0000:00:1E.0: GPU is lost.  "
             "Reboot the system to recover this GPU\n", True, "GPU is lost"),
    "driver gone": (9, "NVIDIA-SMI has failed", True, "driver"),
    "driver not there yet": (9, "NVIDIA-SMI has failed", False, ""),
    "no devices any more": (6, "No devices were found\n", True, "no GPU"),
    "wrong usage": (2, "Invalid combination", True, ""),
    "did not end": (-1, "", True, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", GPUS)
def test_only_a_gpu_that_is_gone_is_a_fault(name: str) -> None:
    """A tool that fails for itself proves nothing."""
    code, output, was_well, word = GPUS[name]
    fault = gpu_fault(code, output, was_well)
    assert (word in fault) if word else fault == ""


@pytest.mark.parametrize(
    ("journal", "fault"),
    [("NVRM: Xid (PCI:0000:00:1e): 79, pid=7, GPU has fallen off the bus.\n",
      "Xid 79 of GPU PCI:0000:00:1e"),
     ("NVRM: Xid (PCI:0000:00:1e): 13, Graphics Exception\n"
      "NVRM: Xid (PCI:0000:00:1e): 48, pid=7, DBE\n", "Xid 48 of GPU PCI:0000:00:1e"),
     ("NVRM: Xid (PCI:0000:00:1e): 31, pid=7, MMU Fault\n", ""), ("-- No entries --\n", "")],
)  # fmt: skip
def test_an_xid_is_fatal_when_only_a_reset_helps(journal: str, fault: str) -> None:
    """An application's own fault (13, 31) kills the engine at most, which systemd restarts."""
    assert xid_fault(journal) == fault


def test_a_jump_of_the_clock_does_not_end_a_drain() -> None:
    """Deadlines count monotonic time; the wall clock only dates them."""
    wall, monotonic = [datetime(2026, 11, 21, tzinfo=UTC)], [100.0]
    worker = Worker(monotonic=lambda: monotonic[0], wall=lambda: wall[0])
    for event in (Event.BOOTED, Event.HYDRATED, Event.ENGINE_UP, Event.WARMED_UP):
        worker.machine.apply(event)
    worker.start_drain(Trigger.TERMINATE, "x", 60.0)
    for jump in (timedelta(days=3), -timedelta(days=30)):
        wall[0] += jump
        worker.observe(Load(1, 0))
        assert worker.finish_drain() is None
        assert worker.document().drain_deadline == wall[0] + timedelta(seconds=60)


@pytest.mark.usefixtures("quick")
def test_a_crash_loop_fails_a_worker_in_service_and_has_it_replaced(tmp_path: Path) -> None:
    """systemd gives up after five starts; the group hears it at once."""
    ended = subprocess.Popen(["true"])
    ended.wait(10)

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            await fakes.until(lambda: bool(here.around.completed))
        for number in range(CRASH_LOOP_STARTS):
            assert here.state != "failed", number
            body = f'{{"pid": {ended.pid}}}'
            assert (await here.post("/engine-started", body))[0] == 204
        await here.until("failed")
        assert "ended 5 times" in here.agent.worker.machine.reason
        await fakes.until(lambda: here.around.unhealthy == ["Unhealthy"])
        assert (await here.post("/engine-started", '{"pid": "x"}'))[0] == 400

    live(life, tmp_path)


@pytest.mark.usefixtures("quick")
def test_a_hung_engine_is_passed_over_and_replaced(tmp_path: Path) -> None:
    """/health and /v1/loads answer, nothing is generated: starting, then failed and unhealthy."""
    seen: list[str] = []

    async def life(here: World) -> None:
        here.agent.worker.machine.listener = lambda _old, new, why: seen.append(f"{new} {why}")
        async with here.engine() as engine:
            await here.until("ready")
            await fakes.until(lambda: bool(here.around.completed))
            engine.faults.hang_before_first_byte = True
            await here.until("failed")
            await fakes.until(lambda: here.around.unhealthy == ["Unhealthy"])
        assert any("starting the engine generates nothing" in line for line in seen)

    live(life, tmp_path)


@pytest.mark.usefixtures("quick")
def test_an_engine_that_hung_and_came_back_serves_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is final before its time to recover is over."""
    monkeypatch.setattr(agent_module, "_HUNG_RECOVERY_S", 30.0)

    async def life(here: World) -> None:
        async with here.engine() as engine:
            await here.until("ready")
            engine.faults.change({"hang_before_first_byte": True, "unhealthy": True})
            await here.until("starting")
            engine.faults.change({"reset": True})
            await here.until("ready")

    live(life, tmp_path)


def tools(folder: Path, smi: str, journal: str = "exit 0") -> None:
    """nvidia-smi and journalctl, as scripts first in PATH."""
    for name, body in (("nvidia-smi", smi), ("journalctl", journal)):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)


_WELL = 'echo "GPU 0: NVIDIA L4 (UUID: GPU-1)"'
_LOST: dict[str, tuple[str, str, str]] = {
    "off the bus": ("exit 15", "exit 0", "fallen off the bus"),
    "xid": (_WELL, "echo 'NVRM: Xid (PCI:0000:00:1e): 79, GPU has fallen off'", "Xid 79"),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("case", _LOST)
def test_a_lost_gpu_fails_the_worker_and_has_it_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """nvidia-smi's exit code or the kernel's word, from real processes."""
    smi, journal, word = _LOST[case]
    tools(tmp_path, _WELL)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            await fakes.until(lambda: (GROUP, "launch", "CONTINUE") in here.around.completed)
            tools(tmp_path, smi, journal)
            await here.until("failed")
            assert word in here.agent.worker.machine.reason
            await fakes.until(lambda: here.around.unhealthy == ["Unhealthy"])

    live(life, tmp_path)


def test_a_tool_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nvidia-smi may wait for a dead GPU for ever."""
    tools(tmp_path, "exec sleep 600")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gpu, "_TIMEOUT_S", 0.2)

    async def look() -> Any:
        return await asyncio.wait_for(gpu.Gpus().fault(), 10)

    assert asyncio.run(look()) == ""
