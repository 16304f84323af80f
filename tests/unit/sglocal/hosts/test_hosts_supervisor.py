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


def test_a_service_that_is_held_does_not_start_until_it_is_wanted_again(tmp_path: Path) -> None:
    wanted = tmp_path / "engine.wanted"
    engine = Service("engine", ["true"], wanted=wanted)
    engine.ended(1, 100.0)
    wanted.write_text("stopped\n")
    engine.hold(100.0)
    held = engine.ready(1e9)
    wanted.write_text("started")
    engine.hold(200.0)
    assert (held, engine.ready(200.0)) == (False, True)


def test_a_held_service_that_ends_badly_stays_ended(tmp_path: Path) -> None:
    (tmp_path / "wanted").write_text("stopped")
    engine = Service("engine", ["true"], wanted=tmp_path / "wanted")
    engine.hold(0.0)
    engine.ended(1, 1.0)
    assert not engine.ready(1e9)


def test_nothing_is_wanted_while_there_is_no_file(tmp_path: Path) -> None:
    engine = Service("engine", ["true"], wanted=tmp_path / "wanted")
    assert not engine.hold(0.0)
    assert engine.ready(0.0)
