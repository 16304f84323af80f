"""The prefix index: a table of fixed size that several processes may share."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.inner.table import ENTRY_BYTES, MAX_SLOT
from sglrouter.policy.index import PrefixIndex

blocks = st.lists(st.integers(1, (1 << 64) - 1), min_size=1, max_size=40, unique=True)
slots = st.integers(1, MAX_SLOT)


def put(index, chain, slot):
    index.record(chain, index.match(chain), slot)


def depths(index, chain):
    return index.match(chain).depths()


def chains(count, length=4, seed=1):
    rng = random.Random(seed)
    return [[rng.getrandbits(64) for _ in range(length)] for _ in range(count)]


@given(blocks, slots)
def test_what_was_recorded_is_found_to_its_depth(chain, slot):
    index = PrefixIndex(None, 1 << 20)
    put(index, chain, slot)
    assert depths(index, chain) == {slot: len(chain)}


@given(blocks, blocks, slots, slots)
def test_each_holder_has_its_own_depth(shared, rest, first, second):
    index = PrefixIndex(None, 1 << 20)
    chain = shared + [block for block in rest if block not in shared]
    put(index, chain, first)
    put(index, shared, second)
    expected = {first: len(chain)}
    if second != first:
        expected[second] = len(shared)
    assert depths(index, chain) == expected


def test_a_block_keeps_its_four_latest_holders():
    index = PrefixIndex()
    for slot in (1, 2, 3, 4, 2, 5, 6):
        put(index, [7], slot)
    assert set(depths(index, [7])) == {4, 2, 5, 6}


def test_a_gap_does_not_end_a_match():
    """Entries are replaced one by one; what lies deeper is still cached."""
    index = PrefixIndex()
    put(index, [1, 2], 9)
    put(index, [5, 6], 9)
    assert depths(index, [1, 2, 3, 4, 5, 6]) == {9: 6}
    assert depths(index, [1, 2, 3, 4, 44, 5, 6]) == {9: 2}


@pytest.mark.parametrize("slot", [0, -1, MAX_SLOT + 1, 1 << 40])
def test_a_slot_that_has_no_room_in_an_entry_is_left_out(slot):
    index = PrefixIndex()
    put(index, [1, 2, 3], slot)
    assert depths(index, [1, 2, 3]) == {}


@given(st.integers(64, 4096), st.lists(blocks, max_size=60))
def test_the_table_never_grows(size, many):
    index = PrefixIndex(memoryview(bytearray(size)))
    for n, chain in enumerate(many):
        put(index, chain, 1 + n % MAX_SLOT)
    assert index.statistics()["index_entries"] <= index.entries <= size // ENTRY_BYTES


def test_at_its_cap_the_latest_stay_and_the_oldest_go():
    index = PrefixIndex(None, 1 << 16)
    everything = chains(8_000)
    for chain in everything:
        put(index, chain, 3)
    latest = sum(bool(depths(index, chain)) for chain in everything[-100:])
    assert latest == 100
    assert not any(depths(index, chain) for chain in everything[:1000])
    assert index.statistics()["index_entries"] == index.entries


@pytest.mark.parametrize("size", [1 << 12, 1 << 20], ids=["every entry", "a sample"])
def test_entries_in_use_are_counted_on_a_sample_of_large_tables(size):
    index = PrefixIndex(None, size)
    many = index.entries // 2
    for chain in chains(many, length=1):
        put(index, chain, 3)
    used = sum(1 for key in index._keys[::2] if key)
    error = 0 if size == 1 << 12 else 0.1 * index.entries  # four times a sample's deviation
    assert index.statistics()["index_entries"] == pytest.approx(used, abs=error)


def test_what_is_used_outlives_what_is_not():
    index = PrefixIndex(None, 1 << 16)
    hot, cold = chains(2, length=8, seed=2)
    put(index, hot, 1)
    put(index, cold, 2)
    for chain in chains(8_000):
        put(index, chain, 3)
        put(index, hot, 1)
    assert depths(index, hot) == {1: 8}
    assert depths(index, cold) == {}


def test_ages_that_began_anew_do_not_fill_the_table_for_ever():
    """After 256 fillings ages are 0 again, and what is older seems younger until it is swept."""
    memory = memoryview(bytearray(1 << 12))
    memory[:8].cast("Q")[0] = 65_000
    index = PrefixIndex(memory)
    old = chains(134)  # 536 blocks: the last of them turns the age
    for chain in old:
        put(index, chain, 1)
    assert any(depths(index, chain) for chain in old)
    index.sweep()
    for chain in chains(500, seed=2):
        put(index, chain, 2)
    assert not any(depths(index, chain) for chain in old)


def test_a_forgotten_slot_frees_its_entries_in_bounded_slices():
    index = PrefixIndex(None, 1 << 20)
    for n, chain in enumerate(chains(4000)):
        put(index, chain, 1 + n % 2)
    before = index.statistics()["index_entries"]
    index.forget(1)
    sweeps = 0
    while index._gone:
        index.sweep()
        sweeps += 1
        assert sweeps <= 1 + index.entries // 16_384
    assert index.statistics()["index_entries"] < 0.6 * before
    left = [depths(index, chain) for chain in chains(4000)]
    assert set().union(*left) == {2}


def test_a_slot_given_again_has_nothing_of_its_predecessor():
    index = PrefixIndex(None, 1 << 16)
    put(index, [1, 2, 3], 5)
    put(index, [1, 2], 6)
    index.forget(5)
    index.sweep()
    assert depths(index, [1, 2, 3]) == {6: 2}
    put(index, [9], 5)
    index.sweep()
    assert depths(index, [9]) == {5: 1}


def test_two_indexes_on_one_memory_are_one():
    memory = memoryview(bytearray(1 << 16))
    ours, theirs = PrefixIndex(memory), PrefixIndex(memory)
    put(ours, [1, 2, 3], 1)
    put(theirs, [1, 2], 2)
    assert depths(ours, [1, 2, 3]) == {1: 3, 2: 2}


@given(st.integers(0, 1 << 32), blocks, slots)
def test_any_content_of_the_memory_is_a_hint_and_never_an_error(seed, chain, slot):
    """Another process may have torn any word."""
    index = PrefixIndex(memoryview(bytearray(random.Random(seed).randbytes(4096))))
    index._keys[chain[0] % index._buckets << 2] = chain[0]  # and a key may match
    found = depths(index, chain)
    assert all(0 < holder <= MAX_SLOT for holder in found)
    assert all(0 < depth <= len(chain) for depth in found.values())
    put(index, chain, slot)
    index.forget(slot)
    index.sweep()
    assert slot not in depths(index, chain)


def test_memory_too_small_for_one_entry_is_refused():
    with pytest.raises(ValueError, match="holds nothing"):
        PrefixIndex(memoryview(bytearray(48)))
