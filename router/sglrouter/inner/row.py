"""One client's row of the journal (`rescue.journal`), written as it reads and is answered.

`_row.c` has the same; this is used where it was not built.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

#: Not a client's, or one in the middle of an answer: nobody else can go on with it.
NONE = 0
#: A client that waits for nothing.
IDLE = 1
#: A client that has sent (part of) a request and has got nothing of its answer.
WAITING = 2
#: The same request, of which one process has died already: it might be the cause.
WAITING_AGAIN = 3
#: Its answer is being written; whether the kernel has any of it, the kernel knows.
ANSWERING = 4

# Above this the memory of a request is given back when its answer begins.
RETURNED_BYTES = 8 * 1024


class Row:
    """`number` of `rows` in `memory`, which begins with all rows' words: bytes read, bytes kept,
    file (0: none), bytes written before the answer and with it (0: unknown); then their states,
    a byte each; then their places of `room` bytes.

    What becomes true is written last: the process may be killed after any store.
    """

    __slots__ = (
        "_file", "_kept", "_memory", "_place", "_room", "_state", "_taken", "_whole", "_written",
    )  # fmt: skip

    def __init__(self, memory: mmap.mmap, number: int, rows: int, room: int, /) -> None:
        if not 0 <= number < rows or len(memory) < rows * (41 + room):
            raise ValueError("there is no such row")
        words = memoryview(memory)[: 40 * rows].cast("Q")
        self._taken, self._kept, self._file, self._written, self._whole = (
            words[n * rows + number :][:1] for n in range(5)
        )
        self._state = memoryview(memory)[40 * rows + number :][:1]
        self._memory, self._room = memory, room
        self._place = 41 * rows + number * room

    @property
    def state(self) -> int:
        return self._state[0]

    def open(self, taken: int, /) -> None:
        """A client has connected; `taken`: bytes that other processes have read from it."""
        self._taken[0] = taken
        self._state[0] = IDLE

    def took(self, data: bytes, /) -> bool:
        """`data` was read from the client; False: it is not kept, something else is going on."""
        if self._state[0] == ANSWERING:
            self.end()
        state = self._state[0]
        if state:
            self._keep(0 if state == IDLE else self._kept[0], data)
        self._taken[0] += len(data)
        return state != NONE

    def begin(self, data: bytes, /) -> None:
        """What `took` did not keep is a request's beginning after all."""
        self._keep(0, data)

    def again(self) -> None:
        """The request has met the death of a process: it gets no third."""
        if self._state[0] == WAITING:
            self._state[0] = WAITING_AGAIN

    def answer(self, written: int, whole: int, /) -> None:
        """Call before an answer's first byte is written, behind `written` bytes of others;
        `whole`: its own, 0 for unknown."""
        if self._state[0] == WAITING:
            self._written[0] = written
            self._whole[0] = written + whole if whole else 0
            self._state[0] = ANSWERING
        else:
            self.end()

    def idle(self) -> None:
        """All of the answer is the kernel's, and nothing of another request was read."""
        self._state[0] = IDLE
        self._forget()

    def end(self) -> None:
        """Nobody else can go on. Call, too, before the descriptor is closed."""
        self._state[0] = NONE
        self._forget()

    def _forget(self) -> None:
        if self._kept[0] > RETURNED_BYTES:
            self._give_back()
        self._kept[0] = 0

    def _keep(self, before: int, data: bytes) -> None:
        after = before + len(data)
        if after <= self._room:
            self._memory[self._place + before : self._place + after] = data
        elif not self._spill(before, data):
            self._kept[0] = RETURNED_BYTES + 1
            self.end()
            return
        self._kept[0] = after
        if self._state[0] < WAITING:
            self._state[0] = WAITING

    def _spill(self, before: int, data: bytes) -> bool:
        """Write to the row's own file; False: there is no room for it."""
        try:
            if not self._file[0]:
                file = os.memfd_create("sglrouter-request", os.MFD_CLOEXEC)
                if file == 0:  # that would mean that there is none
                    os.close(file)
                    return False
                self._file[0] = file
                os.pwrite(file, self._memory[self._place : self._place + before], 0)
            return os.pwrite(self._file[0], data, before) == len(data)
        except OSError:
            return False

    def _give_back(self) -> None:
        if self._file[0]:
            os.close(self._file[0])
            self._file[0] = 0
        with suppress(OSError, ValueError):  # where pages are larger, the memory stays
            self._memory.madvise(mmap.MADV_REMOVE, self._place, self._room)
