"""Heads remembered: what was said about the same bytes before, without reading them again. Pure.

The heads of a client, or of a worker, differ in a few values only: lengths, dates, ids. With these
cut out, a head that was accepted once is recognised by comparison, and the values are put where
they belong. Nothing is judged here but the values: the rest is what llhttp and `read_head` said
about the very same bytes. Refused heads are never remembered, nor those of a client without a key.

Clients' keys lie in memory inside these heads, as in any request being read; nothing prints them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sglrouter.access.keys import KeyInfo
from sglrouter.models import RouterDocument
from sglrouter.wire.head import REQUEST_ID, SPECIAL, Head, ResponseHead
from sglrouter.wire.routes import Route

LENGTH, DATE, REQUEST, ADDRESS = b"content-length", b"date", b"x-request-id", b"x-forwarded-for"
# W3C Trace Context; X-Amzn-Trace-Id is new in each request that an AWS load balancer passes on.
TRACES = (b"traceparent", b"tracestate", b"x-amzn-trace-id")
MAX_HEAD = 8192
MAX_BYTES = 8 * 1024 * 1024
# A remembered head takes about three times its bytes, and its objects.
_COPIES, _OVERHEAD = 3, 2048
_MAX_ONCE = 4096
_DIGITS = re.compile(rb"\d{1,15}")

_VALUE = re.compile(rb"[!-~](?:[ -~]{0,254}[!-~])?")

Fixed = tuple[bytes, ...]


def cutter(*names: bytes) -> re.Pattern[bytes]:
    """For `cut`: lines of these names whose value is printable ASCII of 256 bytes at most."""
    either = b"|".join(re.escape(name) for name in names)
    line = rb"(\r\n(?:" + either + rb"): ?)(" + _VALUE.pattern + rb")(?=\r\n)"
    return re.compile(line, re.IGNORECASE)


def cut(pattern: re.Pattern[bytes], lines: bytes) -> tuple[Fixed, list[bytes]]:
    """Header lines, each between CRLFs, as (what stays, the values cut out).

    What stays alternates: text, the name of a value, text, …, text.
    """
    parts = pattern.split(lines)
    values = parts[2::3]
    del parts[2::3]
    return tuple(parts), values


def _names(fixed: Fixed) -> list[bytes]:
    return [part.strip(b"\r\n: ").lower() for part in fixed[1::2]]


class Shape:
    """The fixed texts of a head, in order, between which values stand: the quickest comparison."""

    __slots__ = ("_first", "_rest")

    def __init__(self, fixed: Fixed) -> None:
        texts = [text + name for text, name in zip(fixed[::2], (*fixed[1::2], b""), strict=True)]
        texts[-1] += b"\r\n"
        self._first, *self._rest = texts

    def match(self, data: bytes) -> tuple[int, list[bytes]] | None:
        """(where the head ends, its values) if `data` begins with a head of this shape."""
        if not data.startswith(self._first):
            return None
        position, values = len(self._first), []
        for text in self._rest:
            end = data.find(b"\r\n", position, position + 258)
            if end < 0 or not data.startswith(text, end):
                return None
            value = data[position:end]
            if not value.isdigit() and not _VALUE.fullmatch(value):
                return None
            values.append(value)
            position = end + len(text)
        return position, values


@dataclass(slots=True)
class Template:
    """Lines to be passed on, with places for values. `places[n]`: which value goes to place n."""

    pieces: list[bytes]
    places: list[int]

    @classmethod
    def of(
        cls, pattern: re.Pattern[bytes], passed: bytes, names: Sequence[bytes], values: list[bytes]
    ) -> Template | None:
        """None when the values in `passed` are not those of the head it was made of."""
        fixed, inside = cut(pattern, b"\r\n" + passed)
        places = [names.index(name) if name in names else -1 for name in _names(fixed)]
        if -1 in places or inside != [values[n] for n in places]:
            return None
        texts = [text + name for text, name in zip(fixed[::2], (*fixed[1::2], b""), strict=True)]
        texts[0] = texts[0].removeprefix(b"\r\n")
        pieces = [b""] * (2 * len(texts) - 1)
        pieces[::2] = texts
        return cls(pieces, places)

    def fill(self, values: list[bytes]) -> bytes:
        pieces = self.pieces.copy()
        pieces[1::2] = [values[n] for n in self.places]
        return b"".join(pieces)


@dataclass(slots=True)
class KnownRequest:
    """An accepted request head without its changing values. Void with its memory."""

    memory: RequestMemory

    head: Head
    route: Route
    key: KeyInfo
    key_version: int
    close: bool
    names: list[bytes]
    template: Template
    session: int  # which value is the conversation's name; -1: none
    shape: Shape
    size: int

    def read(self, values: list[bytes]) -> tuple[Head, int] | None:
        """The head with these values and its body's length; None: they must be judged."""
        names = self.names
        if names == [LENGTH]:
            return (self.head, int(values[0])) if _DIGITS.fullmatch(values[0]) else None
        given = dict(zip(names, values, strict=True))
        length, request_id = given.get(LENGTH, b"0"), given.get(REQUEST, b"")
        if not _DIGITS.fullmatch(length) or (request_id and not REQUEST_ID.fullmatch(request_id)):
            return None
        old = self.head
        head = Head(
            method=old.method,
            target=old.target,
            passed=self.template.fill(values),
            content_type=old.content_type,
            content_length=None,
            chunked=False,
            expects_continue=False,
            credential=old.credential,
            request_id=request_id,
            framed=old.framed,
            credentials=old.credentials,
            session=values[self.session] if self.session >= 0 else old.session,
            hop=old.hop,
            priority=old.priority,
            opaque=old.opaque,
            traced=old.traced,
        )
        return head, int(length)


class RequestMemory:
    """Accepted request heads of one document. Bounded in bytes; the oldest makes room."""

    def __init__(self, document: RouterDocument, max_bytes: int = MAX_BYTES) -> None:
        self.document = document
        self.session_header = document.affinity.session_header.lower().encode()
        self.size = 0
        self._max_bytes = max_bytes
        changing = {LENGTH, REQUEST, ADDRESS, *TRACES}
        if self.session_header not in SPECIAL:  # else it decides about more than the worker
            changing.add(self.session_header)
        self._pattern = cutter(*sorted(changing))
        self._known: dict[Fixed, KnownRequest] = {}
        self._once: set[int] = set()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, lines: bytes) -> tuple[KnownRequest, list[bytes]] | None:
        """What is known of a head (request line and header lines, each ending in CRLF)."""
        fixed, values = cut(self._pattern, lines)
        known = self._known.get(fixed)
        return None if known is None else (known, values)

    def add(
        self, lines: bytes, head: Head, route: Route, key: KeyInfo, version: int, *, close: bool
    ) -> None:
        """Remember an accepted head when it is seen for the second time.

        Left to the slow path: lines that do not all end in CRLF, a name twice, a body of unknown
        length, and whatever does not give back the very head it was made of.
        """
        if len(lines) > MAX_HEAD or head.chunked or head.expects_continue or not _plain(lines):
            return
        fixed, values = cut(self._pattern, lines)
        names = _names(fixed)
        template = Template.of(self._pattern, head.passed, names, values)
        if template is None or len(set(names)) < len(names) or not self._again(fixed):
            return
        session = names.index(self.session_header) if self.session_header in names else -1
        shared, size = replace(head, content_length=None), _COPIES * len(lines) + _OVERHEAD
        known = KnownRequest(
            self, shared, route, key, version, close, names, template, session, Shape(fixed), size
        )
        if known.read(values) == (shared, head.content_length or 0):
            self._put(fixed, known)

    def _again(self, fixed: Fixed) -> bool:
        mark = hash(fixed)
        if mark in self._once:
            self._once.discard(mark)
            return True
        if len(self._once) >= _MAX_ONCE:
            self._once.clear()
        self._once.add(mark)
        return False

    def _put(self, fixed: Fixed, known: KnownRequest) -> None:
        old = self._known.pop(fixed, None)
        self.size += known.size - (old.size if old is not None else 0)
        self._known[fixed] = known
        while self.size > self._max_bytes:
            self.size -= self._known.pop(next(iter(self._known))).size


def _plain(lines: bytes) -> bool:
    """Whether every CR and LF belongs to a CRLF, and the first line is a request's."""
    ends = lines.count(b"\r\n")
    return lines[:1].isupper() and lines.count(b"\r") == ends == lines.count(b"\n")


_RESPONSE = cutter(DATE, LENGTH)
# A worker has few kinds of answers: a stream, a document, an error.
_MAX_RESPONSES = 8


@dataclass(slots=True)
class _KnownResponse:
    head: ResponseHead
    template: Template
    shape: Shape
    length_at: int  # which value is Content-Length; -1: none

    def read(self, values: list[bytes]) -> ResponseHead | None:
        old, length = self.head, None
        if self.length_at >= 0:
            digits = values[self.length_at]
            if not _DIGITS.fullmatch(digits):
                return None
            length = int(digits)
        return ResponseHead(
            status=old.status,
            passed=self.template.fill(values),
            content_type=old.content_type,
            chunked=old.chunked,
            length=length,
            keep=old.keep,
        )


class ResponseMemory:
    """The kinds of heads one connection to a worker has brought."""

    __slots__ = ("_known", "_last")

    def __init__(self) -> None:
        self._known: dict[Fixed, _KnownResponse] = {}
        self._last: _KnownResponse | None = None

    def find(self, data: bytes) -> tuple[ResponseHead, int] | None:
        """The head that `data` begins with and where it ends; None: it must be read."""
        matched = self._last.shape.match(data) if self._last is not None else None
        if self._last is not None and matched is not None:
            end, values = matched
            head = self._last.read(values)
            return None if head is None else (head, end)
        end = data.find(b"\r\n\r\n") + 4
        fixed, values = cut(_RESPONSE, data[: end - 2])
        known = self._known.get(fixed)
        head = known.read(values) if known is not None else None
        if head is None:
            return None
        self._last = known
        return head, end

    def add(self, raw: bytes, head: ResponseHead) -> None:
        """Remember a head that was read, if it can be given back; `raw`: without the blank line."""
        if head.status < 200 or len(raw) > MAX_HEAD:
            return
        fixed, values = cut(_RESPONSE, raw + b"\r\n")
        names = _names(fixed)
        template = Template.of(_RESPONSE, head.passed, names, values)
        if template is None or len(set(names)) < len(names):
            return
        at = names.index(LENGTH) if LENGTH in names else -1
        known = _KnownResponse(head, template, Shape(fixed), at)
        if known.read(values) == head:
            if len(self._known) >= _MAX_RESPONSES:
                self._known.clear()
            self._known[fixed] = known
