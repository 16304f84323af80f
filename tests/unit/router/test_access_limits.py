"""What a key's holder may use: buckets, shares, and wrong keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.access import limits as module
from sglrouter.access.keys import ANYONE, KeyInfo
from sglrouter.access.limits import KeyLimits

RATE = KeyInfo("rate", requests_per_second=2)
TOKENS = KeyInfo("tokens", tokens_per_minute=600)
PARALLEL = KeyInfo("parallel", concurrency=4)


def code(failure):
    return None if failure is None else (failure.code, failure.retry_after_s)


# Each step: (seconds, tokens asked, expected refusal); shares are whole.
CASES = {
    "two at once, then one every half second": (
        RATE,
        [(0, 0, None), (0, 0, None), (0, 0, ("rate_limited_requests", 1)), (0.5, 0, None)],
    ),
    "a slower rate tells how long": (
        KeyInfo("slow", requests_per_second=0.1),
        [(0, 0, None), (2, 0, ("rate_limited_requests", 8)), (10, 0, None)],
    ),
    "a minute's tokens, then ten a second": (
        TOKENS,
        [(0, 600, None), (0, 100, ("rate_limited_tokens", 10)), (10, 100, None)],
    ),
    "a request larger than a minute waits for the full bucket": (
        TOKENS,
        [(0, 5000, None), (60, 1, ("rate_limited_tokens", 381)), (60 + 441, 600, None)],
    ),
    "an idle hour is no more than a full bucket": (
        TOKENS,
        [(0, 1, None), (3600, 600, None), (3600, 1, ("rate_limited_tokens", 1))],
    ),
    "four at a time": (
        PARALLEL,
        [*[(0, 0, None)] * 4, (0, 0, ("rate_limited_concurrency", 1))],
    ),
    "nobody's bound": (ANYONE, [(0, 10**9, None)] * 50),
}


@pytest.mark.parametrize(("key", "steps"), CASES.values(), ids=CASES)
def test_a_bound_is_kept_and_says_when_to_come_again(key, steps):
    limits = KeyLimits()
    for now, tokens, expected in steps:
        failure = limits.admit(key, tokens, float(now), 1.0)
        assert code(failure) == expected, (now, tokens)
        assert failure is None or failure.status == 429


def test_a_refused_request_uses_nothing():
    limits = KeyLimits()
    key = KeyInfo("k", requests_per_second=1, tokens_per_minute=60, concurrency=1)
    assert limits.admit(key, 60, 0.0, 1.0) is None
    for _ in range(100):
        assert limits.admit(key, 60, 0.0, 1.0) is not None
    limits.release(key)
    assert limits.admit(key, 60, 60.0, 1.0) is None


def test_what_was_used_replaces_what_was_estimated():
    limits = KeyLimits()
    assert limits.admit(TOKENS, 500, 0.0, 1.0) is None
    limits.spent(TOKENS, tokens=100, estimate=500)
    assert limits.admit(TOKENS, 500, 0.0, 1.0) is None
    limits.spent(TOKENS, tokens=1100, estimate=500)
    assert code(limits.admit(TOKENS, 0, 0.0, 1.0)) == ("rate_limited_tokens", 60)


def test_a_reload_changes_bounds_and_keeps_what_runs():
    limits = KeyLimits()
    assert limits.admit(PARALLEL, 0, 0.0, 1.0) is None
    tighter = KeyInfo("parallel", concurrency=1, requests_per_second=5)
    assert code(limits.admit(tighter, 0, 0.0, 1.0)) == ("rate_limited_concurrency", 1)
    limits.keep(set())  # revoked, with a request still running
    limits.release(PARALLEL)
    assert limits.admit(tighter, 0, 0.0, 1.0) is None


SHARES = [(4, 1.0, 4), (4, 0.5, 2), (4, 0.25, 1), (4, 0.1, 1), (10, 1 / 3, 3)]


@pytest.mark.parametrize(("bound", "share", "expected"), SHARES)
def test_a_router_enforces_its_share_of_concurrency_and_one_at_least(bound, share, expected):
    limits, key = KeyLimits(), KeyInfo("k", concurrency=bound)
    admitted = sum(limits.admit(key, 0, 0.0, share) is None for _ in range(20))
    assert admitted == expected


steps = st.lists(
    st.tuples(st.floats(0, 5), st.integers(0, 400), st.sampled_from([1.0, 0.5, 0.25])), max_size=60
)


@given(steps)
def test_admitted_requests_never_pass_rate_and_tokens(moves):
    """Over any run: rate x time + one burst, and tokens x time + one bucket + one request."""
    limits = KeyLimits()
    key = KeyInfo("k", requests_per_second=3, tokens_per_minute=600)
    now, admitted, used, largest = 0.0, 0, 0, 0
    for pause, tokens, share in moves:
        now += pause
        if limits.admit(key, tokens, now, share) is None:
            admitted, used, largest = admitted + 1, used + tokens, max(largest, tokens)
            limits.release(key)
    assert admitted <= 3 + 3 * now + 1e-6
    assert used <= 600 + 10 * now + largest + 1e-6


@given(st.lists(st.booleans(), max_size=200))
def test_releases_bring_concurrency_back_to_zero(moves):
    limits, key, running = KeyLimits(), KeyInfo("k", concurrency=3), 0
    for starts in moves:
        if starts and limits.admit(key, 0, 0.0, 1.0) is None:
            running += 1
        elif not starts and running:
            limits.release(key)
            running -= 1
        assert 0 <= running <= 3
    limits.keep(set())
    for _ in range(running):
        limits.release(key)
    limits.keep(set())
    assert [limits.admit(key, 0, 0.0, 1.0) for _ in range(3)] == [None] * 3


def test_wrong_keys_are_counted_by_address():
    limits = KeyLimits(failed_per_minute=3)
    assert [limits.failed_auth("a", 0.0) for _ in range(5)] == [False] * 3 + [True] * 2
    assert limits.failed_auth("b", 0.0) is False
    assert [limits.failed_auth("a", 20.0) for _ in range(2)] == [False, True]


def test_the_table_of_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_ADDRESSES", 10)
    limits = KeyLimits(failed_per_minute=1)
    for number in range(1000):
        limits.failed_auth(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(limits._failed) == 10
    assert limits.failed_auth("10.0.3.231", 0.0) is True  # the last one is still known


def test_a_request_that_began_without_bounds_gives_no_other_place_back():
    """The key file was replaced meanwhile and bounds its holder now."""
    limits = KeyLimits()
    unbounded, bounded = KeyInfo("app"), KeyInfo("app", concurrency=1)
    assert limits.admit(unbounded, 0, 0.0, 1.0) is None
    assert limits.admit(bounded, 0, 0.0, 1.0) is None
    limits.release(unbounded)
    assert code(limits.admit(bounded, 0, 0.0, 1.0)) == ("rate_limited_concurrency", 1)
    limits.release(bounded)
    assert limits.admit(bounded, 0, 0.0, 1.0) is None
