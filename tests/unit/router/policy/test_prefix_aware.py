"""The default policy, and every imbalance that other routers were reported to have."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.models import Affinity
from sglrouter.policy import make_policy

SYSTEM = {"role": "system", "content": "You are a helpful assistant. " * 400}  # about 2,900 tokens


def hot(kit, n, words=1):
    """One of many conversations below the same long system prompt."""
    question = {"role": "user", "content": f"Question {n} " * words}
    return kit.view({"model": "tiny", "messages": [SYSTEM, question]})


def unique(kit, n, size=2000):
    return kit.view({"model": "tiny", "prompt": f"{n} " + "x" * size})


def make_fleet(kit, count, **affinity):
    return kit.Fleet(make_policy("prefix_aware", Affinity(**affinity)), kit.make_workers(count))


def counts(choices):
    return Counter(choice.worker.id for choice in choices)


def test_a_conversation_stays_on_its_worker(kit):
    fleet = make_fleet(kit, 4)
    turns = ["Tell me a story. " * 50]
    workers = set()
    for n in range(8):
        choice = fleet.send(kit.view(kit.chat(*turns)))
        fleet.first_byte(choice)
        fleet.done(choice)
        workers.add(choice.worker.id)
        if n > 1:
            assert choice.reason == "prefix"
        turns += ["Once upon a time. " * 50, f"And then, {n}? " * 10]
    assert len(workers) == 1


# What the holder of a prefix of 2,900 tokens has on it, what three others have; where it goes.
# (holder load, holder backlog, others' load, others' backlog, reason)
RULE = [
    ("idle", 0, 0, 0, 0, "prefix"),
    ("as busy as all", 40, 3000, 40, 3000, "prefix"),
    ("a few requests more", 5, 0, 0, 0, "prefix"),
    ("overloaded", 16, 0, 0, 0, "spill"),
    ("overloaded among busy ones", 90, 0, 40, 0, "spill"),
    ("below the overload among busy ones", 70, 0, 40, 0, "prefix"),
    ("waits less than the prefix saves", 1, 2_500, 0, 0, "prefix"),
    ("waits longer, within the spill limit", 1, 5_200, 0, 0, "prefix"),
    ("above the spill limit", 1, 6_400, 0, 0, "spill"),
    ("above it, as all are", 1, 19_000, 1, 19_000, "prefix"),
]


@pytest.mark.parametrize(
    ("holder_load", "holder_backlog", "load", "backlog", "reason"),
    [case[1:] for case in RULE],
    ids=[case[0] for case in RULE],
)
def test_a_match_is_exploited_unless_its_holder_is_overloaded(
    kit, holder_load, holder_backlog, load, backlog, reason
):
    fleet = make_fleet(kit, 4)
    first = fleet.send(hot(kit, 0))
    for worker in fleet.workers:
        worker.load, worker.backlog = load, backlog
    first.worker.load, first.worker.backlog = holder_load, holder_backlog
    choice = fleet.policy.choose(hot(kit, 1), fleet.workers)
    assert choice.reason == reason
    assert (choice.worker is first.worker) == (reason == "prefix")
    assert (choice.cached_tokens > 2500) == (reason == "prefix")


def test_a_short_match_decides_nothing(kit):
    """Less than half of the prompt: the least work decides, of which the match is a part."""
    fleet = make_fleet(kit, 2)
    first = fleet.send(hot(kit, 0))
    fleet.first_byte(first)
    fleet.done(first)
    again = fleet.policy.choose(hot(kit, 1, words=2000), fleet.workers)
    assert (again.reason, again.worker) == ("cold", first.worker)
    first.worker.backlog = 6000
    away = fleet.policy.choose(hot(kit, 2, words=2000), fleet.workers)
    assert (away.reason, away.worker is first.worker) == ("cold", False)


def test_low_concurrency_does_not_pile_up_on_one_worker(kit):
    """sglang's cache_aware keeps all below one prefix together until they are 64 apart."""
    fleet = make_fleet(kit, 8)
    running = [fleet.send(hot(kit, n)) for n in range(24)]
    for choice in running:
        fleet.first_byte(choice)
    assert max(counts(running).values()) <= 1.5 * 24 / 8 + 9
    unlike = make_fleet(kit, 8)
    spread = [unlike.send(unique(kit, n)) for n in range(24)]
    assert set(counts(spread).values()) == {3}


def test_a_hot_prefix_is_copied_to_as_many_workers_as_it_needs(kit):
    fleet = make_fleet(kit, 8)
    running, uncached = [], 0
    for n in range(400):
        running.append(fleet.send(hot(kit, n)))
        fleet.first_byte(running[-1])
        uncached += running[-1].cached_tokens == 0
        if len(running) > 160:
            fleet.done(running.pop(0))
    busy = counts(running)
    assert len(busy) > 4  # more than the index keeps holders of a block
    assert max(busy.values()) <= 1.5 * 160 / 8 + 9
    assert uncached <= 16  # the first on each worker, and few more


def test_counters_that_came_back_to_zero_leave_nothing_behind(kit):
    """Leaked in-flight counters once starved workers: the policy itself keeps none."""
    fleet = make_fleet(kit, 4)
    for _ in range(3):
        burst = [fleet.send(unique(kit, n)) for n in range(40)]
        for choice in burst:
            fleet.first_byte(choice)
            fleet.done(choice)
    assert {(worker.load, worker.backlog) for worker in fleet.workers} == {(0, 0)}
    later = [fleet.send(unique(kit, n)) for n in range(100, 140)]
    assert set(counts(later).values()) == {10}


def test_a_cold_new_worker_gets_work(kit):
    fleet = make_fleet(kit, 3)
    for n in range(120):
        fleet.first_byte(fleet.send(hot(kit, n)))
    new = kit.Worker("new", slot=9)
    fleet.workers.append(new)
    got = [fleet.send(hot(kit, n)) for n in range(200, 260)]
    for choice in got:
        fleet.first_byte(choice)
    assert new.load >= 10
    assert sum(choice.cached_tokens == 0 for choice in got if choice.worker is new) <= 1


def test_a_slow_worker_gets_as_much_less_as_it_is_slower(kit):
    """Every step the fast one finishes three requests for the slow one's one."""
    fleet = make_fleet(kit, 2)
    waiting = {worker.id: [] for worker in fleet.workers}
    done = Counter()
    for step in range(400):
        for n in range(4):
            choice = fleet.send(unique(kit, 4 * step + n))
            waiting[choice.worker.id].append(choice)
        for worker, speed in zip(fleet.workers, (3, 1), strict=True):
            for choice in waiting[worker.id][:speed]:
                fleet.first_byte(choice)
                fleet.done(choice)
                done[worker.id] += 1
            del waiting[worker.id][:speed]
    assert 2.5 <= done["worker-0"] / done["worker-1"] <= 3.5
    assert all(len(queue) < 30 for queue in waiting.values())


def teach(fleet, speeds, samples=60):
    """Let first bytes of prompts of 2,800 tokens show workers' speeds, in tokens per second."""
    for worker, speed in zip(fleet.workers, speeds, strict=True):
        for _ in range(samples):
            fleet.policy.first_byte(worker.slot, 2800, 0, 0, 2800 / speed)
    fleet.policy.sweep()


def test_a_slow_holder_is_left_when_a_fast_worker_would_be_earlier(kit):
    """The same backlog is three times the wait on a worker of a third of the speed."""
    reasons = []
    for speeds in ((14_000, 14_000, 14_000, 14_000), (4_700, 14_000, 14_000, 14_000)):
        fleet = make_fleet(kit, 4)
        holder = fleet.workers[0]
        fleet.policy.choose(hot(kit, 0), [holder])
        teach(fleet, speeds)
        holder.load, holder.backlog = 1, 4_000
        reasons.append(fleet.policy.choose(hot(kit, 1), fleet.workers).reason)
    assert reasons == ["prefix", "spill"]


def test_what_waits_is_spread_by_speed(kit):
    """None of it has had a first byte: so much waits everywhere that it takes equally long."""
    fleet = make_fleet(kit, 4)
    teach(fleet, (12_000, 12_000, 4_000, 4_000))
    got = counts(fleet.send(unique(kit, n, size=8000)) for n in range(160))
    fast, slow = got["worker-0"] + got["worker-1"], got["worker-2"] + got["worker-3"]
    assert 2.4 <= fast / slow <= 3.6


def test_a_new_conversation_goes_where_least_was_sent_lately(kit):
    """Idle workers are alike by what runs there, not by what will come back to them."""
    fleet = make_fleet(kit, 4)
    for n in range(3):
        choice = fleet.policy.choose(unique(kit, n, size=40_000), [fleet.workers[n]])
        choice.worker.last_chosen = 0
    fleet.workers[3].last_chosen = 99
    fleet.policy.choose(unique(kit, 7), [fleet.workers[3]])
    fleet.policy.sweep()
    assert fleet.policy.choose(unique(kit, 9), fleet.workers).worker is fleet.workers[3]


def test_a_slot_given_to_another_worker_promises_nothing(kit):
    fleet = make_fleet(kit, 2)
    first = fleet.send(hot(kit, 0))
    fleet.first_byte(first)
    fleet.done(first)
    slot = first.worker.slot
    fleet.workers.remove(first.worker)
    fleet.policy.forget(slot)
    for _ in range(40):
        fleet.policy.sweep()
    fleet.workers.append(kit.Worker("new", slot=slot))
    choice = fleet.policy.choose(hot(kit, 1), fleet.workers)
    assert (choice.reason, choice.cached_tokens) == ("cold", 0)


def test_a_match_on_a_worker_that_is_no_candidate_is_none(kit):
    fleet = make_fleet(kit, 3)
    first = fleet.send(hot(kit, 0))
    others = [worker for worker in fleet.workers if worker is not first.worker]
    assert fleet.policy.choose(hot(kit, 1), others).reason == "cold"


def test_two_processes_with_one_memory_share_what_they_learn(kit):
    memory = memoryview(bytearray(1 << 20))
    ours, theirs = (make_policy("prefix_aware", None, memory) for _ in range(2))
    fleet = kit.Fleet(ours, kit.make_workers(4))
    first = fleet.send(hot(kit, 0))
    choice = theirs.choose(hot(kit, 1), fleet.workers)
    assert (choice.reason, choice.worker) == ("prefix", first.worker)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=80))
def test_backlog_and_load_end_where_they_began(kit, steps):
    """What is added for a choice is what comes off again, whatever the order."""
    fleet = make_fleet(kit, 3)
    running = []
    for which, finish in steps:
        if finish and running:
            choice = running.pop(which % len(running))
            fleet.first_byte(choice)
            fleet.done(choice)
        else:
            running.append(fleet.send(hot(kit, which)))
        assert all(worker.load >= 0 and worker.backlog >= 0 for worker in fleet.workers)
    for choice in running:
        fleet.first_byte(choice)
        fleet.done(choice)
    assert {(worker.load, worker.backlog) for worker in fleet.workers} == {(0, 0)}


def test_statistics_say_what_was_matched(kit):
    fleet = make_fleet(kit, 2, index_bytes=64 * 1024)
    total = sum(fleet.send(hot(kit, n)).cached_tokens for n in range(3))
    found = fleet.policy.statistics()
    assert found["matched_tokens"] == total > 0
    assert found["prompt_tokens"] > total
    assert found["index_entries"] > 0


def test_routers_that_know_nothing_of_each_other_place_a_long_text_alike(kit):
    """Else each of them puts its own copy of a shared document somewhere."""
    text = "A long document. " * 800
    homes = set()
    for router in range(4):
        fleet = make_fleet(kit, 6)
        fleet.policy.alone = False
        fleet.workers[router].last_chosen = 9  # their turns differ
        question = kit.view(kit.chat(text + f"And a question of router {router}."))
        homes.add(fleet.policy.choose(question, fleet.workers).worker.id)
    assert len(homes) == 1


def test_different_long_texts_are_placed_on_different_workers(kit):
    fleet = make_fleet(kit, 6)
    fleet.policy.alone = False
    texts = [kit.view(kit.chat(f"Document {n}. " * 800)) for n in range(120)]
    got = counts(fleet.policy.choose(text, fleet.workers) for text in texts)
    assert all(got[worker.id] >= 8 for worker in fleet.workers)


def test_a_router_that_is_alone_places_a_long_text_where_there_is_least_to_do(kit):
    fleet = make_fleet(kit, 6)
    texts = [kit.view(kit.chat(f"Document {n}. " * 800)) for n in range(6)]
    assert len({fleet.send(text).worker.id for text in texts}) == 6


def test_the_home_of_a_long_text_is_passed_over_when_it_is_busy(kit):
    fleet = make_fleet(kit, 6)
    request = kit.view(kit.chat("A long document. " * 800))
    other = make_policy("prefix_aware")
    other.alone = fleet.policy.alone = False
    home = other.choose(request, fleet.workers).worker
    home.backlog = request.prompt.tokens // 2
    assert fleet.policy.choose(request, fleet.workers).worker is home
    home.backlog = 2 * request.prompt.tokens
    fleet = kit.Fleet(make_policy("prefix_aware"), fleet.workers)
    fleet.policy.alone = False
    assert fleet.policy.choose(request, fleet.workers).worker is not home
