"""An approximate record of which worker has which prefix cached, in a table of fixed size. Pure.

The table may lie in memory that several processes share: all of them read and write it without a
lock. A torn, lost or stale entry costs a wrong hint, never an error, and nothing else rests on it.

An entry has two 64-bit words. Key: the block's hash, 0 for none. Value, from the top: 16 bits of
age, then four holders of 12 bits (worker slots, latest first, 0 for none). Two entries make a
bucket; a new block takes the place of the older one.
"""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

ENTRY_BYTES: Final = 16
WAYS: Final = 2
MAX_HOLDERS: Final = 4
MAX_SLOT: Final = 0xFFF
_SLOT_BITS: Final = 12
_AGE_SHIFT: Final = 48
_AGES: Final = 1 << 16
_HOLDERS: Final = (1 << _AGE_SHIFT) - 1
_COUNT: Final = (1 << 64) - 1
_HEADER_BYTES: Final = 32
# A block may have been replaced while deeper ones were not: a match goes on over such gaps.
_GAP: Final = 2
# Entries one sweep looks at, about a millisecond.
_SWEEP_ENTRIES: Final = 16_384
_SAMPLE: Final = 4096


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
            for slot in _slots(value & _HOLDERS):
                if slot not in depths:
                    depths[slot] = depth
        return depths


class PrefixIndex:
    """Which slots hold a block, for as many blocks as fit into `size` bytes.

    `memory`: writable and zeroed at first, shared by whoever was given it; None: its own.
    Slots are 1 … 4095; a worker with a higher one is chosen by load alone.
    """

    def __init__(self, memory: memoryview | None = None, size: int = 8 << 20) -> None:
        if memory is None:
            memory = memoryview(mmap.mmap(-1, size))
        self._buckets = (len(memory) - _HEADER_BYTES) // (WAYS * ENTRY_BYTES)
        if self._buckets < 1:
            raise ValueError(f"an index of {len(memory)} bytes holds nothing")
        self.entries = self._buckets * WAYS
        #: Word 0: how many blocks have been entered, by all processes.
        self._header = memory[:_HEADER_BYTES].cast("Q")
        table = memory[_HEADER_BYTES : _HEADER_BYTES + self.entries * ENTRY_BYTES]
        self._keys = table.cast("Q")
        self._values = self._keys[1:]  # so that an entry's words have the same place in both
        # Age advances 256 times while the table is filled once: fine enough to tell old from
        # new, coarse enough that a block in use is seldom written again.
        self._per_tick = max(1, self.entries // 256)
        self._now = self._age()
        self._gone: dict[int, int] = {}  # slot -> entries still to be looked at
        self._rejuvenate = 0  # entries still to be looked at since ages began anew
        self._swept = 0

    def _age(self) -> int:
        return self._header[0] // self._per_tick % _AGES

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
        age = self._age() << _AGE_SHIFT
        places, start = match.places, 0
        for old, end in match.runs:
            new = age | _first(old & _HOLDERS, slot)
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

    def forget(self, slot: int) -> None:
        """The worker is gone; its entries go with the next sweeps."""
        self._gone[slot] = self.entries

    def sweep(self) -> None:
        """Look at a slice of the entries, while there is something to do: free those of forgotten
        workers, and make old what is left from before ages began anew (after 256 fillings).
        """
        now = self._age()
        if now < self._now:
            self._rejuvenate = self.entries
        self._now = now
        if not self._gone and not self._rejuvenate:
            return
        start, end = self._swept, min(self._swept + _SWEEP_ENTRIES, self.entries)
        for n, value in enumerate(self._values[2 * start : 2 * end : 2].tolist(), start):
            if value:
                self._clean(2 * n, value, now)
        done = end - start
        self._swept = 0 if end == self.entries else end
        self._rejuvenate = max(0, self._rejuvenate - done)
        self._gone = {slot: left - done for slot, left in self._gone.items() if left > done}

    def _clean(self, place: int, seen: int, now: int) -> None:
        kept = _without(seen & _HOLDERS, self._gone)
        age = seen >> _AGE_SHIFT
        value = (0 if age > now + 1 else age) << _AGE_SHIFT | kept if kept else 0
        if value == seen or self._values[place] != seen:  # written meanwhile by another process
            return
        if not value:
            self._keys[place] = 0
        self._values[place] = value

    def statistics(self) -> Mapping[str, float]:
        """`index_entries` is counted on a sample: several processes write the table."""
        sample = self._keys[:: 2 * max(1, self.entries // _SAMPLE)].tolist()
        used = sum(1 for key in sample if key) / len(sample)
        return {
            "index_bytes": float(self.entries * ENTRY_BYTES),
            "index_entries": float(round(used * self.entries)),
            "index_capacity": float(self.entries),
        }


def _slots(holders: int) -> Iterator[int]:
    while holders:
        if holders & MAX_SLOT:
            yield holders & MAX_SLOT
        holders >>= _SLOT_BITS


def _pack(slots: Iterable[int]) -> int:
    packed = 0
    for n, slot in enumerate(itertools.islice(slots, MAX_HOLDERS)):
        packed |= slot << n * _SLOT_BITS
    return packed


def _first(holders: int, slot: int) -> int:
    """`holders` with `slot` the latest; a fifth, the longest unused, drops out."""
    if holders & MAX_SLOT == slot:
        return holders
    return _pack((slot, *(other for other in _slots(holders) if other != slot)))


def _without(holders: int, gone: Container[int]) -> int:
    return _pack(slot for slot in _slots(holders) if slot not in gone)
