"""What the clients of a data process have sent and are owed, where its death does not reach.

One row per descriptor, and a place for the bytes of a request that is not answered yet; longer
ones lie in a memory file of their own. Written by one process, read after its end.
Like the process itself it holds prompts and keys: anonymous memory, never on a disk.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

# Descriptors above are not kept. Both are addresses only: memory is what was written to.
ROWS, PLACE_BYTES = 32 * 1024, 32 * 1024
# Above this the memory of a request is given back when its answer begins.
_RETURNED_BYTES = 8 * 1024

#: Not a client's, or one in the middle of an answer: nobody else can go on with it.
NONE = 0
#: A client that waits for nothing.
IDLE = 1
#: A client that has sent (part of) a request and has got nothing of its answer.
WAITING = 2
#: The same request, of which one process has died already: it might be the cause.
WAITING_AGAIN = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A connection to be taken over. `taken`: bytes ever read from it; of these, `length` bytes
    at `offset` of the file `source` are still to be answered."""

    descriptor: int
    taken: int
    source: int
    offset: int
    length: int


class Journal:
    """The rows of one process's descriptors."""

    def __init__(self) -> None:
        self._file = os.memfd_create("sglrouter-journal", os.MFD_CLOEXEC)
        table = ROWS * (1 + 8 + 8 + 8)
        os.ftruncate(self._file, table + ROWS * PLACE_BYTES)
        self._map = mmap.mmap(self._file, table + ROWS * PLACE_BYTES)
        view = memoryview(self._map)
        self._taken = view[: 8 * ROWS].cast("Q")
        self._lengths = view[8 * ROWS : 16 * ROWS].cast("Q")
        self._files = view[16 * ROWS : 24 * ROWS].cast("Q")
        self._states = view[24 * ROWS : table]
        self._places = view[table:]
        self._first_place = table

    def opened(self, row: int, taken: int = 0) -> None:
        """A client has connected; `taken`: bytes that another process has read from it."""
        if row < ROWS:
            self._taken[row] = taken
            self._states[row] = IDLE

    def closed(self, row: int) -> None:
        """Call before the descriptor can be another's."""
        if row < ROWS:
            self.answering(row)

    def state(self, row: int) -> int:
        return self._states[row] if row < ROWS else NONE

    def idle(self, row: int) -> None:
        """All of the answer is the kernel's, and nothing of another request was read."""
        if row < ROWS:
            self._states[row] = IDLE

    def took(self, row: int, data: bytes, *, begins: bool) -> None:
        """`data` was read from the client; `begins`: nothing before it is unanswered."""
        if row >= ROWS:
            return
        state = self._states[row]
        if begins or state >= WAITING:
            before = 0 if begins else self._lengths[row]
            after = before + len(data)
            if after <= PLACE_BYTES:
                at = row * PLACE_BYTES
                self._places[at + before : at + after] = data
            elif not self._spill(row, before, data):
                self.answering(row)
                before = after = 0
            self._lengths[row] = after
            if begins and after:
                self._states[row] = WAITING
        self._taken[row] += len(data)

    def again(self, row: int) -> None:
        """The request has met the death of a process: it gets no third."""
        if self.state(row) == WAITING:
            self._states[row] = WAITING_AGAIN

    def answering(self, row: int) -> None:
        """Call before the first byte of an answer is written."""
        if row >= ROWS:
            return
        self._states[row] = NONE
        length = self._lengths[row]
        if length > _RETURNED_BYTES:
            self._give_back(row)
        self._lengths[row] = 0

    def _spill(self, row: int, before: int, data: bytes) -> bool:
        """Write to the row's own file; False: there is no room for it."""
        try:
            if not self._files[row]:
                file = os.memfd_create("sglrouter-request", os.MFD_CLOEXEC)
                self._files[row] = file
                at = row * PLACE_BYTES
                os.pwrite(file, self._places[at : at + before], 0)
            return os.pwrite(self._files[row], data, before) == len(data)
        except OSError:
            return False

    def _give_back(self, row: int) -> None:
        if self._files[row]:
            os.close(self._files[row])
            self._files[row] = 0
        with suppress(OSError):  # a system without it keeps the pages
            self._map.madvise(mmap.MADV_REMOVE, self._first_place + row * PLACE_BYTES, PLACE_BYTES)

    # after the end of the process that wrote

    def rows(self) -> Iterator[Row]:
        """The connections that another process can go on with."""
        for row, state in enumerate(self._states.tobytes()):
            if state in (IDLE, WAITING):
                length = self._lengths[row] if state == WAITING else 0
                file = self._files[row] if length else 0
                offset = 0 if file else self._first_place + row * PLACE_BYTES
                yield Row(row, self._taken[row], file or self._file, offset, length)
