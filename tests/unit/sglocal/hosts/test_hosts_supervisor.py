"""When a supervisor starts a service again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sglocal.hosts.supervisor import BURST, BURST_WINDOW_S, RESTART_DELAY_S, Service


def test_a_service_waits_for_its_file(tmp_path: Path) -> None:
    service = Service("engine", ["true"], after=tmp_path / "engine.json")
    before = service.ready(0.0)
    (tmp_path / "engine.json").touch()
    assert (before, service.ready(0.0)) == (False, True)


@pytest.mark.parametrize("code", [1, 127, -signal.SIGKILL, -signal.SIGSEGV])
def test_a_failed_service_starts_again_after_the_delay(code: int) -> None:
    service = Service("agent", ["x"], starts=[100.0])
    service.ended(code, 100.0)
    assert not service.ready(100.0 + RESTART_DELAY_S / 2)
    assert service.ready(100.0 + RESTART_DELAY_S)


@pytest.mark.parametrize("code", [0, -signal.SIGTERM])
def test_a_service_that_ended_cleanly_stays_ended(code: int) -> None:
    service = Service("agent", ["x"], starts=[100.0])
    service.ended(code, 100.0)
    assert not service.ready(1e9)


def test_a_service_that_keeps_failing_is_given_up() -> None:
    service = Service("agent", ["x"])
    for number in range(BURST):
        service.starts.append(float(number))
        line = service.ended(1, float(number))
    assert "giving up" in line
    assert not service.ready(1e9)


def test_failures_that_lie_apart_never_add_up() -> None:
    service = Service("agent", ["x"])
    for number in range(10 * BURST):
        now = number * BURST_WINDOW_S
        service.starts.append(now)
        service.ended(1, now)
    assert service.ready(1e9)
