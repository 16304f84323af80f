"""Where a worker's answer ends. Pure.

A length is counted. Of a chunked body, segments that are whole chunks are recognised by their size
lines; llhttp reads what is not (a chunk in pieces, extensions, trailers), from the start of a chunk
until it stands at the start of one again. Either says the same of any bytes.
"""

from __future__ import annotations

import re
from typing import Protocol

import httptools

from sglrouter.wire.head import ResponseHead

_HEX = re.compile(rb"[0-9a-fA-F]{1,8}")
_SYNTHETIC = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
# Chunks looked at by hand in one segment; llhttp is faster from there on.
BY_HAND = 8


class Broken(Exception):  # noqa: N818
    """The bytes do not fit the framing, or go on behind its end."""


class Framing(Protocol):
    """`boundary`: a whole chunk may come next, and may be passed on unseen."""

    complete: bool
    boundary: bool

    def feed(self, data: bytes) -> bytes:
        """What the client is to get of these bytes. Raises Broken."""


class Counted:
    """A body of `left` bytes."""

    __slots__ = ("_left", "boundary", "complete")

    def __init__(self, left: int) -> None:
        self.boundary = False
        self._left = left
        self.complete = left == 0

    def feed(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left <= 0:
            if self._left < 0:
                raise Broken
            self.complete = True
        return data


class UntilClose:
    """A body that only the end of the connection ends."""

    __slots__ = ("boundary", "complete")

    def __init__(self) -> None:
        self.boundary = False
        self.complete = False

    def feed(self, data: bytes) -> bytes:
        return data


def chunk_size(line: bytes) -> int:
    """The size in a chunk's first line, without CRLF; -1: llhttp must judge it."""
    return int(line, 16) if _HEX.fullmatch(line) else -1


class Chunked:
    """A chunked body, passed on with its framing."""

    __slots__ = ("_parser", "_surplus", "boundary", "complete")

    def __init__(self) -> None:
        self.complete = False
        self.boundary = True  # at the start of a chunk
        self._parser: httptools.HttpResponseParser | None = None
        self._surplus = False

    def feed(self, data: bytes) -> bytes:
        left = self._skip_chunks(data) if self.boundary else data
        if left:
            self._parse(left)
        return data

    def _skip_chunks(self, data: bytes) -> bytes:
        """What is left when whole chunks are taken off the front."""
        position = 0
        for _ in range(BY_HAND):
            end = data.find(b"\r\n", position, position + 10)
            size = chunk_size(data[position:end]) if end > position else -1
            after = end + size + 4
            if size < 0 or data[after - 2 : after] != b"\r\n":
                break
            if size == 0:
                if after == len(data):
                    self.complete = True
                    return b""
                break
            position = after
        return data[position:]

    def _parse(self, data: bytes) -> None:
        """Let llhttp read on, from the start of a chunk or from where it stands."""
        try:
            if self._parser is None:
                self._parser = httptools.HttpResponseParser(self)
                self._parser.feed_data(_SYNTHETIC)
            self.boundary = False
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._parser = None
            raise Broken from error
        # A size line may have begun behind the last chunk, of which nothing is heard yet.
        self.boundary = self.boundary and data.endswith(b"\r\n")
        if self.complete:
            self._parser = None  # it refers back to this object
        if self._surplus:
            raise Broken

    # llhttp's side

    def on_message_begin(self) -> None:
        self._surplus = self.complete

    def on_chunk_header(self) -> None:
        self.boundary = False

    def on_chunk_complete(self) -> None:
        self.boundary = True

    def on_message_complete(self) -> None:
        self.complete = True


class Dechunked(Chunked):
    """A chunked body without its framing, for a client that knows no chunks."""

    __slots__ = ("_bodies",)

    def __init__(self) -> None:
        super().__init__()
        self.boundary = False  # nothing passes unseen
        self._bodies: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        self._parse(data)
        self.boundary = False
        whole = b"".join(self._bodies)
        self._bodies.clear()
        return whole

    def on_body(self, body: bytes) -> None:
        self._bodies.append(body)


def framing_of(head: ResponseHead, head_only: bool, dechunk: bool) -> Framing:
    """How the body behind this head ends (RFC 9112, section 6.3)."""
    if head_only or head.status in (204, 304):
        return Counted(0)
    if head.chunked:
        return Dechunked() if dechunk else Chunked()
    return UntilClose() if head.length is None else Counted(head.length)
