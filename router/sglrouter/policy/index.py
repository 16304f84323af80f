"""An approximate record of which worker has which prefix cached, of fixed size. Pure.

What it looks like, and how it is read and written per request: `inner.table`. Here is what keeps
it in order: workers that are gone are forgotten, slice by slice, and ages begin anew.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from typing import Any, Final

from sglrouter.inner import Table
from sglrouter.inner.blocks import Hashes
from sglrouter.inner.table import (
    AGE_SHIFT,
    AGES,
    ENTRY_BYTES,
    HEADER_BYTES,
    HOLDERS,
    WAYS,
    Match,
    without,
)

# Entries one sweep looks at, about a millisecond.
_SWEEP_ENTRIES: Final = 16_384
# Each is a miss of the caches, and each process of a host looks four times a second.
_SAMPLE: Final = 512


class PrefixIndex:
    """Which slots hold a block, for as many blocks as fit into `size` bytes.

    `memory`: writable and zeroed at first, shared by whoever was given it; None: its own.
    Slots are 1 … 4095; a worker with a higher one is chosen by load alone.
    """

    def __init__(self, memory: memoryview | None = None, size: int = 8 << 20) -> None:
        if memory is None:
            memory = memoryview(mmap.mmap(-1, size))
        self._buckets = (len(memory) - HEADER_BYTES) // (WAYS * ENTRY_BYTES)
        if self._buckets < 1:
            raise ValueError(f"an index of {len(memory)} bytes holds nothing")
        self.entries = self._buckets * WAYS
        #: Word 0: how many blocks have been entered, by all processes.
        self._header = memory[:HEADER_BYTES].cast("Q")
        table = memory[HEADER_BYTES : HEADER_BYTES + self.entries * ENTRY_BYTES]
        self._keys = table.cast("Q")
        self._values = self._keys[1:]  # so that an entry's words have the same place in both
        # Age advances 256 times while the table is filled once: fine enough to tell old from
        # new, coarse enough that a block in use is seldom written again.
        self._per_tick = max(1, self.entries // 256)
        rows = Table(memory, self._buckets, self._per_tick)
        #: match(blocks): which of the hashes are known, from the first on.
        self.match: Callable[[Hashes], Match] = rows.match
        #: record(blocks, match, slot): from now on the worker in `slot` has these blocks.
        self.record: Callable[[Hashes, Any, int], None] = rows.record
        self._now = self._age()
        self._gone: dict[int, int] = {}  # slot -> entries still to be looked at
        self._rejuvenate = 0  # entries still to be looked at since ages began anew
        self._swept = 0

    def _age(self) -> int:
        return self._header[0] // self._per_tick % AGES

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
        kept = without(seen & HOLDERS, self._gone)
        age = seen >> AGE_SHIFT
        value = (0 if age > now + 1 else age) << AGE_SHIFT | kept if kept else 0
        if value == seen or self._values[place] != seen:  # written meanwhile by another process
            return
        if not value:
            self._keys[place] = 0
        self._values[place] = value

    def statistics(self) -> Mapping[str, float]:
        """`index_entries` is counted on a sample: several processes write the table."""
        sample = self._keys[:: 2 * max(1, self.entries // _SAMPLE)].tolist()
        used = 1 - sample.count(0) / len(sample)
        return {
            "index_bytes": float(self.entries * ENTRY_BYTES),
            "index_entries": float(round(used * self.entries)),
            "index_capacity": float(self.entries),
        }
