"""The policies that look at load alone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.policy import make_policy
from sglrouter.wire.body import RequestView

VIEW = RequestView(b"/v1/completions", b"{}", {}, "tiny")


@dataclass
class Load:
    id: str
    load: int = 0
    last_chosen: int = 0
    backlog: int = 0
    slot: int = 1


LEAST_LOAD = [
    ([Load("a", 3), Load("b", 1), Load("c", 2)], "b"),
    ([Load("a", 1, 9), Load("b", 1, 4)], "b"),
    ([Load("a", 0, 9), Load("new")], "new"),
]


@pytest.mark.parametrize(("workers", "expected"), LEAST_LOAD)
def test_least_load_takes_the_shortest_and_then_the_least_recently_chosen(workers, expected):
    assert make_policy("least_load").choose(VIEW, workers).worker.id == expected


@given(st.integers(1, 12), st.integers(1, 100), st.sampled_from(["least_load", "round_robin"]))
def test_idle_workers_share_requests_evenly(count, requests, name):
    """One at a time, so that loads are always equal: nobody piles up on the first worker."""
    workers = [Load(f"w{n}") for n in range(count)]
    policy = make_policy(name)
    got = dict.fromkeys((w.id for w in workers), 0)
    for number in range(1, requests + 1):
        chosen = policy.choose(VIEW, workers).worker
        chosen.last_chosen = number
        got[chosen.id] += 1
    assert max(got.values()) - min(got.values()) <= 1
