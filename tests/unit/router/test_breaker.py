"""The circuit breaker of a worker, and how a fleet uses its workers' breakers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.fleet.workers import Address, Report, Seen, WorkerSet
from sglrouter.models import Breaker as Settings
from sglrouter.models import FleetRoute
from sglrouter.serving.breaker import Breaker, State

SETTINGS = Settings(failures=3, error_rate=0.5, window=4, open_s=2.0, max_open_s=5.0)


def failed(breaker: Breaker, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        breaker.failed(now)


def test_failures_in_a_row_open_it():
    breaker = Breaker(SETTINGS)
    assert [breaker.failed(0.0) for _ in range(3)] == [False, False, True]
    assert breaker.state(0.0) is State.OPEN
    assert not breaker.allows(1.9)


def test_a_success_in_between_starts_the_row_again():
    breaker = Breaker(Settings(failures=3, error_rate=1.0, window=10))
    for _ in range(5):
        failed(breaker, 2)
        breaker.succeeded()
    assert breaker.state(0.0) is State.CLOSED


def test_an_error_rate_over_a_whole_window_opens_it():
    """Half of the last four, never three in a row."""
    breaker = Breaker(SETTINGS)
    breaker.failed(0.0)
    breaker.succeeded()
    breaker.failed(0.0)
    assert breaker.state(0.0) is State.CLOSED  # three outcomes are no window yet
    breaker.succeeded()
    assert breaker.failed(0.0)


def test_an_error_rate_alone_does_not_open_it_where_it_may_not():
    breaker = Breaker(Settings(failures=100, error_rate=0.5, window=4))
    assert not any(breaker.failed(0.0, may_eject=False) for _ in range(50))


def test_half_open_lets_exactly_one_probe_through():
    breaker = Breaker(SETTINGS)
    failed(breaker, 3)
    assert breaker.state(2.0) is State.HALF_OPEN
    assert breaker.allows(2.0)
    probe = breaker.sent(2.0)
    assert probe
    assert not breaker.allows(2.0)
    assert not breaker.sent(2.0)
    breaker.abandoned(probe)
    assert breaker.allows(2.0)


def test_a_probe_that_was_overtaken_does_not_let_a_second_one_through():
    """An earlier request failed meanwhile; a new probe runs when the old one's client goes."""
    breaker = Breaker(SETTINGS)
    failed(breaker, 3)
    old = breaker.sent(2.0)
    breaker.failed(2.0)
    assert breaker.sent(6.0)
    breaker.abandoned(old)
    assert not breaker.allows(6.0)


def test_a_good_probe_closes_it():
    breaker = Breaker(SETTINGS)
    failed(breaker, 3)
    breaker.sent(2.0)
    breaker.succeeded()
    assert breaker.state(2.0) is State.CLOSED


def test_openings_double_up_to_a_cap_and_a_good_window_forgets_them():
    breaker, now, lengths = Breaker(SETTINGS), 0.0, []
    failed(breaker, 3)
    for _ in range(4):
        lengths.append(breaker.opened_until - now)
        now = breaker.opened_until
        breaker.sent(now)
        breaker.failed(now)
    assert lengths == [2.0, 4.0, 5.0, 5.0]
    breaker.sent(now + 5.0)
    for _ in range(SETTINGS.window):
        breaker.succeeded()
    failed(breaker, 3, now=100.0)
    assert breaker.opened_until == 102.0


def test_what_was_sent_before_it_opened_does_not_prolong_it():
    breaker = Breaker(SETTINGS)
    failed(breaker, 3)
    failed(breaker, 5, now=1.0)
    assert breaker.opened_until == 2.0


@given(st.lists(st.sampled_from(["ok", "fail", "send", "abandon", "wait"]), max_size=60))
def test_it_never_lets_two_probes_through_and_always_lets_one_in_the_end(events):
    """In any order of events, at most one probe runs, and time heals."""
    breaker, now, probes = Breaker(SETTINGS), 0.0, []
    for event in events:
        if event == "wait":
            now += 1.0
        elif event == "send":
            allowed, probe = breaker.allows(now), breaker.sent(now)
            assert bool(probe) == (allowed and not breaker.closed)
            probes += [probe] if probe else []
        elif event == "ok":
            breaker.succeeded()
        elif event == "fail":
            breaker.failed(now)
        elif probes:
            breaker.abandoned(probes.pop(0))
        assert breaker.probe in {0, *probes[-1:]}
    for probe in probes:
        breaker.abandoned(probe)
    assert breaker.allows(now + SETTINGS.max_open_s)


def ready_fleet(count: int, **route):
    workers = WorkerSet({"chat": FleetRoute(models=("tiny",), **route)})
    workers.apply([Seen(str(n), "chat", Address("127.0.0.1", n), None) for n in range(count)])
    for worker in workers.workers.values():
        workers.reported(worker, Report("ready", 0, None, {}), 0.0)
    workers.refresh(0.0)
    return workers.fleets["chat"], list(workers.workers.values())


def test_an_open_worker_is_passed_over_while_another_is_closed():
    fleet, (a, b) = ready_fleet(2)
    for _ in range(3):
        fleet.failed(a, 0.0)
    assert list(fleet.candidates((), 0.0)) == [b]
    assert list(fleet.candidates([b], 0.0)) == [a]  # rather than refuse
    assert list(fleet.candidates((), 2.0)) == [a, b]  # half-open
    a.breaker.sent(2.0)
    assert list(fleet.candidates((), 2.0)) == [b]


def test_when_all_are_open_all_are_tried():
    fleet, workers = ready_fleet(2)
    for worker in workers:
        for _ in range(3):
            fleet.failed(worker, 0.0)
    assert list(fleet.candidates((), 0.0)) == workers


@pytest.mark.parametrize(("count", "ejected"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_of_a_fleet_is_out_for_its_error_rate(count, ejected):
    """Where every worker fails every other request, the fault is elsewhere."""
    fleet, workers = ready_fleet(count, breaker=Settings(failures=1000, window=4, error_rate=0.5))
    for _ in range(10):
        for worker in workers:
            worker.breaker.succeeded() if worker.breaker.closed else None
            fleet.failed(worker, 0.0)
    assert sum(not worker.breaker.closed for worker in workers) == ejected
