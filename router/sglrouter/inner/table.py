"""Which worker has which block cached, in a table of fixed size. Pure.

The table may lie in memory that several processes share: all of them read and write it without a
lock. A torn, lost or stale entry costs a wrong hint, never an error, and nothing else rests on it.

An entry has two 64-bit words. Key: the block's hash, 0 for none. Value, from the top: 16 bits of
age, then four holders of 12 bits (worker slots, latest first, 0 for none). Two entries make a
bucket; a new block takes the place of the older one. Before the entries lies a header of four
words; the first counts the blocks that were entered, by all processes.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

ENTRY_BYTES: Final = 16
WAYS: Final = 2
MAX_HOLDERS: Final = 4
MAX_SLOT: Final = 0xFFF
SLOT_BITS: Final = 12
AGE_SHIFT: Final = 48
AGES: Final = 1 << 16
HOLDERS: Final = (1 << AGE_SHIFT) - 1
HEADER_BYTES: Final = 32
_COUNT: Final = (1 << 64) - 1
# A block may have been replaced while deeper ones were not: a match goes on over such gaps.
_GAP: Final = 2


class Match(NamedTuple):
    """What the index knows of a prompt.

    `places`: of each block's value in the table, None for an unknown block.
    `runs`: (value, depth of the last block in a row that has it); neighbours mostly have the same.
    """

    places: Sequence[int | None]
    runs: Sequence[tuple[int, int]]

    def depths(self) -> dict[int, int]:
        """Slot → how many of the prompt's blocks its worker is thought to have cached."""
        depths: dict[int, int] = {}
        for value, depth in reversed(self.runs):
            for slot in slots_of(value & HOLDERS):
                if slot not in depths:
                    depths[slot] = depth
        return depths


class Table:
    """The table in `memory` (writable, HEADER_BYTES and then `buckets` of WAYS entries).

    Age advances once for every `per_tick` blocks entered. Slots are 1 … MAX_SLOT.
    """

    def __init__(self, memory: memoryview, buckets: int, per_tick: int) -> None:
        self._header = memory[:HEADER_BYTES].cast("Q")
        size = buckets * WAYS * ENTRY_BYTES
        self._keys = memory[HEADER_BYTES : HEADER_BYTES + size].cast("Q")
        self._values = self._keys[1:]  # so that an entry's words have the same place in both
        self._buckets = buckets
        self._per_tick = per_tick

    def match(self, blocks: Sequence[int]) -> Match:
        """Which of the blocks are known, from the first to where a match cannot go on."""
        keys, values, buckets = self._keys, self._values, self._buckets
        places: list[int | None] = []
        runs: list[tuple[int, int]] = []
        run = missing = depth = 0
        for key in blocks:
            at = key % buckets << 2
            if keys[at] != key:
                at += 2
                if keys[at] != key:
                    missing += 1
                    if missing > _GAP:
                        break
                    places.append(None)
                    continue
            missing = 0
            value = values[at]
            if value != run:
                if run:
                    runs.append((run, depth))
                run = value
            places.append(at)
            depth = len(places)
        if run:
            runs.append((run, depth))
        return Match(places, runs)

    def record(self, blocks: Sequence[int], match: Match, slot: int) -> None:
        """From now on the worker in `slot` has these blocks, of which `match` are known."""
        if not 0 < slot <= MAX_SLOT:
            return
        values = self._values
        age = self._header[0] // self._per_tick % AGES << AGE_SHIFT
        places, start = match.places, 0
        for old, end in match.runs:
            new = age | with_first(old & HOLDERS, slot)
            if new != old:
                for place in places[start:end]:
                    if place is not None:
                        values[place] = new
            start = end
        unknown = [blocks[n] for n, place in enumerate(places) if place is None]
        unknown += blocks[len(places) :]
        if unknown:
            self._enter(unknown, age | slot)

    def _enter(self, blocks: Sequence[int], value: int) -> None:
        """Put each in the place of its bucket's empty or older entry; in its own if it has one."""
        keys, values, buckets = self._keys, self._values, self._buckets
        for key in blocks:
            at = key % buckets << 2
            if keys[at] != key and (keys[at + 2] == key or values[at + 2] < values[at]):
                at += 2
            keys[at] = key
            values[at] = value
        self._header[0] = (self._header[0] + len(blocks)) & _COUNT


def slots_of(holders: int) -> Iterator[int]:
    while holders:
        if holders & MAX_SLOT:
            yield holders & MAX_SLOT
        holders >>= SLOT_BITS


def pack(slots: Iterable[int]) -> int:
    packed = 0
    for n, slot in enumerate(itertools.islice(slots, MAX_HOLDERS)):
        packed |= slot << n * SLOT_BITS
    return packed


def with_first(holders: int, slot: int) -> int:
    """`holders` with `slot` the latest; a fifth, the longest unused, drops out."""
    if holders & MAX_SLOT == slot:
        return holders
    return pack((slot, *(other for other in slots_of(holders) if other != slot)))


def without(holders: int, gone: Container[int]) -> int:
    return pack(slot for slot in slots_of(holders) if slot not in gone)
