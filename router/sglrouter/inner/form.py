"""Recognises a head by comparison, and writes it anew for the other side. Pure.

`_request.c` has the same; this is used where it was not built.
"""

from __future__ import annotations

import re

_VALUE = re.compile(rb"[!-~](?:[ -~]{0,254}[!-~])?")
_DIGITS = re.compile(rb"[0-9]{1,15}")
MAX_VALUES = 16

#: Where the head ends, its Content-Length (-1: it has none), what is passed on, all its values.
Read = tuple[int, int, bytes, list[bytes]]


class Form:
    """Heads that differ in some values only.

    `texts`: what stands before, between and behind the values, in order; each but the first begins
    with CRLF. `pieces`, `places`: what is passed on, and which value stands behind each piece but
    the last. `length_at`: which value is Content-Length, -1 for none.
    A value is printable ASCII of 1 to 256 bytes, without spaces around it.
    """

    __slots__ = ("_first", "_length_at", "_pieces", "_places", "_rest")

    def __init__(
        self,
        texts: tuple[bytes, ...],
        pieces: tuple[bytes, ...],
        places: tuple[int, ...],
        length_at: int,
    ) -> None:
        values = len(texts) - 1
        if not 0 <= values <= MAX_VALUES or len(places) > MAX_VALUES:
            raise ValueError("too many values, or no text")
        if len(pieces) != len(places) + 1 or not all(0 <= n < values for n in places):
            raise ValueError("a place has no value")
        if not -1 <= length_at < values:
            raise ValueError("the length has no value")
        if not all(text.startswith(b"\r\n") for text in texts[1:]):
            raise ValueError("a value must end its line")
        self._first, *self._rest = texts
        self._pieces = pieces
        self._places = places
        self._length_at = length_at

    def read(self, data: bytes) -> Read | None:
        """The head that `data` begins with; None: it is none of these."""
        if not data.startswith(self._first):
            return None
        position, values = len(self._first), []
        for text in self._rest:
            end = data.find(b"\r\n", position, position + 258)
            value = data[position:end]
            if end < 0 or not _VALUE.fullmatch(value) or not data.startswith(text, end):
                return None
            values.append(value)
            position = end + len(text)
        length = -1
        if self._length_at >= 0:
            digits = values[self._length_at]
            if not _DIGITS.fullmatch(digits):
                return None
            length = int(digits)
        first, *more = self._pieces
        filled = [values[place] + piece for place, piece in zip(self._places, more, strict=True)]
        return position, length, first + b"".join(filled), values
