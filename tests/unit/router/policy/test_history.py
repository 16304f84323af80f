"""What is learned of workers from first bytes, and how it fades."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.policy.history import History

HALF_AN_HOUR = 30 * 60 * 4  # in sweeps


def learn(speeds, samples=60, new=1000, **sample):
    """A history of workers 1, 2 …, each of which showed its speed in tokens per second."""
    history = History()
    for slot, speed in enumerate(speeds, 1):
        told = {"cached": 0, "ahead": 0, **sample}
        for _ in range(samples):
            history.first_byte(slot, new, told["cached"], told["ahead"], new / speed)
    history.sweep()
    return history


def test_paces_are_those_of_the_speeds():
    paces = learn([12_000, 12_000, 4_000]).paces
    assert paces[3] / paces.get(1, 1.0) == pytest.approx(3, rel=0.2)
    assert paces.get(1) == paces.get(2)


def test_workers_within_a_fifth_of_each_other_are_equal():
    assert learn([14_000, 13_000, 15_500, 12_500]).paces == {}


# Samples that say nothing of a worker's speed.
SILENT = [
    ("others were before it", {"ahead": 1}),
    ("too short", {"new": 100}),
    ("a third may not have been cached", {"cached": 400}),
]


@pytest.mark.parametrize("sample", [case[1] for case in SILENT], ids=[case[0] for case in SILENT])
def test_a_sample_that_tells_little_is_not_taken(sample):
    assert learn([12_000, 3_000], **sample).paces == {}


def test_one_hiccup_does_not_make_a_worker_slow():
    history = learn([10_000, 10_000])
    history.first_byte(1, 1000, 0, 0, 60.0)
    history.sweep()
    assert history.paces == {}


def test_one_sample_of_a_new_worker_is_not_believed_whole():
    history = learn([10_000, 10_000])
    history.first_byte(3, 1000, 0, 0, 1.0)
    history.sweep()
    assert history.paces.get(3, 1.0) <= 2


def test_a_worker_that_became_fast_is_fast_again():
    history = learn([10_000, 10_000, 2_500])
    for _ in range(150):
        history.first_byte(3, 1000, 0, 0, 0.1)
    history.sweep()
    assert history.paces == {}


def test_a_slow_worker_that_gets_nothing_is_tried_again():
    history = learn([10_000, 10_000, 2_500])
    assert history.paces[3] > 1
    for _ in range(HALF_AN_HOUR):
        history.sweep()
    assert history.paces == {}


def test_what_was_sent_is_half_forgotten_in_a_minute():
    history = History()
    history.sent[1] = 1000.0
    for _ in range(60 * 4):
        history.sweep()
    assert history.sent[1] == pytest.approx(500)


def test_a_burden_is_what_was_sent_beyond_the_least_within_bounds():
    history = History()
    history.sent |= {1: 1_000_000.0, 2: 40_000.0, 3: 30_000.0, 4: 0.0}
    history.sweep()
    burdens = history.burdens
    assert burdens[1] == max(burdens.values()) <= 8000
    assert burdens[4] == min(burdens.values()) >= 0
    history.sent[1] = 40_000.0
    history.sweep()
    assert history.burdens[4] < history.burdens[3] < history.burdens[2]


def test_a_forgotten_worker_leaves_nothing():
    history = learn([10_000, 10_000, 2_500])
    history.sent[3] = 5.0
    history.forget(3)
    history.forget(3)
    history.sweep()
    assert not any(3 in kept for kept in (history.paces, history.sent, history.burdens))


@given(
    st.lists(
        st.tuples(
            st.integers(1, 4),
            st.integers(0, 1 << 40),
            st.integers(0, 1 << 40),
            st.integers(0, 1),
            st.floats(allow_nan=False, allow_infinity=False, min_value=-1, max_value=1e9),
        ),
        max_size=60,
    )
)
def test_paces_stay_within_their_bounds_whatever_is_told(samples):
    history = History()
    for slot, new, cached, ahead, seconds in samples:
        history.first_byte(slot, new, cached, ahead, seconds)
        history.sweep()
        assert all(math.isfinite(pace) and 1 / 8 <= pace <= 8 for pace in history.paces.values())
