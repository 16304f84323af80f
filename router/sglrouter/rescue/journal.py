"""What the clients of a data process have sent and are owed, where its death does not reach.

A row per descriptor (`inner.row`), and a place for the bytes of a request that is not answered
yet; longer ones lie in a memory file of their own. Written by one process, read after its end.
Like the process itself it holds prompts and keys: anonymous memory, never on a disk.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sglrouter.inner.row import Row

# Descriptors above are not kept. Both are addresses only: memory is what was written to.
ROWS, PLACE_BYTES = 32 * 1024, 32 * 1024
_WORDS, _PLACES = 40 * ROWS, 41 * ROWS
_IDLE, _WAITING, _ANSWERING = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Kept:
    """A connection to be taken over. `taken`: bytes ever read from it; of these, `length` bytes
    at `offset` of the file `source` are still to be answered. `answer`, where one was about to be
    written: the bytes written to the connection before it, and with it (0: unknown)."""

    descriptor: int
    taken: int
    source: int
    offset: int
    length: int
    answer: tuple[int, int] | None = None


class Journal:
    """The rows of one process's descriptors."""

    def __init__(self) -> None:
        self._file = os.memfd_create("sglrouter-journal", os.MFD_CLOEXEC)
        size = _PLACES + ROWS * PLACE_BYTES
        os.ftruncate(self._file, size)
        self._memory = mmap.mmap(self._file, size)

    def row(self, descriptor: int) -> Row | None:
        """To be written by the descriptor's connection; None: it is not kept."""
        from sglrouter.inner import Row  # the keeper needs none of it

        return Row(self._memory, descriptor, ROWS, PLACE_BYTES) if descriptor < ROWS else None

    def kept(self) -> Iterator[Kept]:
        """After the end of the process that wrote: what another can go on with."""
        words = memoryview(self._memory)[:_WORDS].cast("Q")
        for row, state in enumerate(self._memory[_WORDS:_PLACES]):
            if state not in (_IDLE, _WAITING, _ANSWERING):
                continue
            taken, length, file, before, whole = (words[n * ROWS + row] for n in range(5))
            if state == _IDLE:
                length = file = 0
            offset = 0 if file else _PLACES + row * PLACE_BYTES
            answer = (before, whole) if state == _ANSWERING else None
            yield Kept(row, taken, file or self._file, offset, length, answer)
