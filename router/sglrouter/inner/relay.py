"""The way of a token: from a target's connection to the client's, counted. Pure but for the write.

`_inner.c` has the same two classes; these are used where it was not built.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

#: First line of a chunk, as engines' HTTP servers write it → bytes of the whole chunk.
_LINES = [(b"%x\r\n" % size, size) for size in range(0x10, 0x1000)]
WHOLE = {line: len(line) + size + 2 for line, size in _LINES}
#: The last pieces hold the usage even when `[DONE]` and the end come in pieces of their own.
TAIL_PIECES = 4


class Meter:
    """Passes pieces of an answer on to `sink` and counts them: `sent` in bytes, `events`."""

    sink: Callable[[bytes], object] | None = None
    sent = events = 0
    _tail: deque[bytes] | None = None

    def write(self, data: bytes) -> None:
        """Pass bytes on to the client."""
        self.sent += len(data)
        self.events += 1
        if self._tail is None:
            self._tail = deque(maxlen=TAIL_PIECES)
        self._tail.append(data)
        assert self.sink is not None
        self.sink(data)

    @property
    def tail(self) -> bytes:
        """The last TAIL_PIECES pieces."""
        return b"".join(self._tail or ())


class Relay:
    """A connection of which whole chunks go straight to `fast`, all else to `received`."""

    def __init__(self) -> None:
        self.fast: Meter | None = None

    def data_received(self, data: bytes) -> None:
        meter = self.fast
        if meter is not None:
            whole = WHOLE.get(data[:5]) or WHOLE.get(data[:4])
            if whole == len(data) and data[-2:] == b"\r\n":
                meter.write(data)
                return
        self.received(data)

    def received(self, data: bytes) -> None:
        """Bytes that are not one whole chunk, or not known to be one."""
        raise NotImplementedError
