"""What is counted and written when a request ends. Pure.

`_request.c` has the same; this is used where it was not built.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, MutableMapping
from typing import Any

#: Tokens: (prompt, completion, of the prompt's the cached or None for unknown, estimated).
Used = tuple[int, int, int | None, bool]
#: A number among a metric's.
Cell = tuple[MutableMapping[Any, float], Hashable]
#: Upper bounds, counts per label and bucket, sums per label, label.
Buckets = tuple[tuple[float, ...], MutableMapping[str, list[int]], MutableMapping[str, float], str]
Cells = tuple[Cell, ...]


class Tally:
    """Counts requests whose labels are all alike, in the metrics' own dictionaries.

    `cells`: of requests, of tokens (prompt, completion, cached), and of cached tokens as the
    engine told and as the router had expected. `histograms`: whole requests, first bytes.
    """

    __slots__ = ("_cells", "_histograms")

    def __init__(self, cells: Cells, histograms: tuple[Buckets, Buckets]) -> None:
        self._cells = cells
        self._histograms = histograms

    def add(
        self, seconds: float, first_byte_s: float | None, used: Used | None, expected: int
    ) -> None:
        """One more. `expected`: cached tokens, compared where the engine told its own."""
        requests, *tokens = self._cells
        whole, first_byte = self._histograms
        _increase(requests, 1)
        _observe(whole, seconds)
        if first_byte_s is not None:
            _observe(first_byte, first_byte_s)
        if used is None:
            return
        prompt, completion, cached, _ = used
        told = () if cached is None else (cached, cached, expected)
        for cell, number in zip(tokens, (prompt, completion, *told), strict=False):
            _increase(cell, number)


def _increase(cell: Cell, number: float) -> None:
    counter, key = cell
    counter[key] += number


def _observe(buckets: Buckets, seconds: float) -> None:
    bounds, counts, sums, label = buckets
    counts[label][bisect_left(bounds, seconds)] += 1
    sums[label] += seconds


def request_line(
    wall: float,
    request_id: bytes,
    who: bytes,
    status: int,
    bytes_in: int,
    bytes_out: int,
    where: bytes,
    attempts: int,
    waited_s: float,
    started: float,
    first_byte_at: float,
    now: float,
    used: Used | None,
    extra: bytes,
) -> bytes:
    """A request's line of the log. Formatted by hand: it costs half of what a document does.

    `request_id`: visible ASCII; `who`, `where`: members of the document; `extra`: more of them,
    behind a comma, or nothing. Times in seconds; `first_byte_at` 0: there was none.
    """
    first = b"%.2f" % (1000 * (first_byte_at - started)) if first_byte_at else b"null"
    return _LINE % (
        wall, request_id.replace(b"\\", b"\\\\").replace(b'"', b'\\"'), who, status,
        bytes_in, bytes_out, where, attempts, 1000 * waited_s, first, 1000 * (now - started),
        _tokens(used) if used is not None else b"", extra,
    )  # fmt: skip


_LINE = (
    b'{"ts":%.3f,"event":"request","id":"%b",%b,"status":%d,"bytes_in":%d,"bytes_out":%d,%b'
    b',"attempts":%d,"queue_ms":%.2f,"first_byte_ms":%b,"duration_ms":%.2f%b%b}\n'
)


def _tokens(used: Used) -> bytes:
    prompt, completion, cached, estimated = used
    return (
        b',"prompt_tokens":%d,"completion_tokens":%d,"cached_tokens":%b,"tokens_estimated":%b'
        % (
            prompt,
            completion,
            b"null" if cached is None else b"%d" % cached,
            b"true" if estimated else b"false",
        )
    )
