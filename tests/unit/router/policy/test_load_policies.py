"""The policies that look at load alone, and the one that looks at the session."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.models import PolicyName
from sglrouter.policy import make_policy

NAMES = get_args(PolicyName)
# (load, last_chosen) of each worker, and which is taken
LEAST_LOAD = [
    ([(3, 0), (1, 0), (2, 0)], 1),
    ([(1, 9), (1, 4)], 1),
    ([(0, 9), (0, 0)], 1),
]


@pytest.mark.parametrize(("given_workers", "expected"), LEAST_LOAD)
def test_least_load_takes_the_shortest_and_then_the_least_recently_chosen(
    kit, given_workers, expected
):
    workers = kit.make_workers(len(given_workers))
    for worker, (load, last_chosen) in zip(workers, given_workers, strict=True):
        worker.load, worker.last_chosen = load, last_chosen
    choice = make_policy("least_load").choose(kit.view({"prompt": "x"}), workers)
    assert choice.worker is workers[expected]


@pytest.mark.parametrize("name", ["least_load", "round_robin", "prefix_aware"])
@given(count=st.integers(1, 12), requests=st.integers(1, 60))
def test_idle_workers_share_requests_evenly(kit, name, count, requests):
    """One at a time, so that loads are always equal: nobody piles up on the first worker."""
    fleet = kit.Fleet(make_policy(name), kit.make_workers(count))
    got = dict.fromkeys((worker.id for worker in fleet.workers), 0)
    for number in range(requests):
        choice = fleet.send(kit.view({"prompt": f"{number} {'x' * 900}"}))
        fleet.first_byte(choice)
        fleet.done(choice)
        got[choice.worker.id] += 1
    assert max(got.values()) - min(got.values()) <= 1


worker_states = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 10**6), st.integers(0, 50)),
    min_size=1,
    max_size=10,
)
documents = st.fixed_dictionaries(
    {"messages": st.lists(st.builds(lambda t: {"role": "user", "content": t}, st.text()))},
    optional={"user": st.one_of(st.text(), st.integers(), st.none())},
)


@pytest.mark.parametrize("name", NAMES)
@given(states=worker_states, document=documents, session=st.binary(max_size=8))
def test_a_choice_is_one_of_the_candidates_and_deterministic(kit, name, states, document, session):
    workers = kit.make_workers(len(states))
    for worker, (load, backlog, last_chosen) in zip(workers, states, strict=True):
        worker.load, worker.backlog, worker.last_chosen = load, backlog, last_chosen
    request = kit.view(document, session)
    choices = [make_policy(name).choose(request, workers) for _ in range(2)]
    assert choices[0].worker in workers
    assert choices[0] == choices[1]
    assert choices[0].cached_tokens >= 0
    assert choices[0].cached_tokens + choices[0].new_tokens == request.prompt.tokens


def test_power_of_two_never_takes_the_busiest(kit):
    workers = kit.make_workers(5)
    workers[2].load = 50
    policy = make_policy("power_of_two")
    got = {policy.choose(kit.view({"prompt": "x"}), workers).worker.id for _ in range(200)}
    assert got == {"worker-0", "worker-1", "worker-3", "worker-4"}


def sessions(kit, fleet, requests):
    return [fleet.policy.choose(request, fleet.workers).worker.id for request in requests]


KEYS = [
    ("header", lambda kit, n: kit.view(kit.chat("Hi"), b"s%d" % n)),
    ("user", lambda kit, n: kit.view(kit.chat("Hi", user=f"u{n}"))),
    ("conversation", lambda kit, n: kit.view(kit.chat(f"I am {n}"))),
]


@pytest.mark.parametrize(("key", "request_of"), KEYS)
def test_sessions_spread_and_only_a_lost_workers_sessions_move(kit, key, request_of):
    fleet = kit.Fleet(make_policy("session"), kit.make_workers(5))
    requests = [request_of(kit, n) for n in range(400)]
    before = sessions(kit, fleet, requests)
    assert all(before.count(worker.id) > 40 for worker in fleet.workers)
    lost = fleet.workers.pop(1).id
    fleet.workers.reverse()
    after = sessions(kit, fleet, requests)
    for one, other in zip(before, after, strict=True):
        assert one in (lost, other)
    assert all(after.count(worker.id) > 60 for worker in fleet.workers)


def test_a_conversation_without_a_key_stays_where_it_began(kit):
    fleet = kit.Fleet(make_policy("session"), kit.make_workers(7))
    turns = [kit.chat("Hi"), kit.chat("Hi", "Hello", "Why?"), kit.chat("Hi", "Hello", "Why?", "So")]
    assert len(set(sessions(kit, fleet, [kit.view(turn) for turn in turns]))) == 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=120))
def test_a_hot_session_fills_no_worker_above_the_bound(kit, keys):
    fleet = kit.Fleet(make_policy("session"), kit.make_workers(4))
    for sent, key in enumerate(keys):
        choice = fleet.send(kit.view(kit.chat("Hi"), b"%d" % key))
        assert choice.worker.load <= 1.25 * sent / 4 + 2
        assert choice.reason in ("session", "session_full")
