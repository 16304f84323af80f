"""Heads remembered: what was said about the same bytes before, without reading them again. Pure.

The heads of a client, or of a worker, differ in a few values only: lengths, dates, ids. With these
cut out, a head that was accepted once is recognised by comparison, and the values are put where
they belong. Nothing is judged here but the values: the rest is what llhttp and `read_head` said
about the very same bytes. Refused heads are never remembered, nor those of a client without a key.

Clients' keys lie in memory inside these heads, as in any request being read; nothing prints them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sglrouter.access.keys import KeyInfo
from sglrouter.inner import Form
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


def _place(names: list[bytes], name: bytes) -> int:
    return names.index(name) if name in names else -1


def _names(fixed: Fixed) -> list[bytes]:
    return [part.strip(b"\r\n: ").lower() for part in fixed[1::2]]


def form_of(
    pattern: re.Pattern[bytes], fixed: Fixed, values: list[bytes], passed: bytes
) -> Form | None:
    """The form of a head cut into `fixed` and `values`, of which `passed` are lines to pass on.

    None when a name is there twice, or the values in `passed` are not those of the head. Twice in
    `passed` alone: it was read from a line that cannot be cut, as one with a tab before its value.
    """
    names = _names(fixed)
    kept, inside = cut(pattern, b"\r\n" + passed)
    places = [_place(names, name) for name in _names(kept)]
    if len(set(names)) < len(names) or len(set(places)) < len(places):
        return None
    if -1 in places or inside != [values[n] for n in places]:
        return None
    texts, pieces = _joined(fixed), _joined(kept)
    texts[-1] += b"\r\n"
    pieces[0] = pieces[0].removeprefix(b"\r\n")
    return Form(tuple(texts), tuple(pieces), tuple(places), _place(names, LENGTH))


def _joined(fixed: Fixed) -> list[bytes]:
    """Each text with the name that follows it."""
    return [text + name for text, name in zip(fixed[::2], (*fixed[1::2], b""), strict=True)]


@dataclass(slots=True)
class KnownRequest:
    """An accepted request head without its changing values. Void with its memory.

    `request_id`, `session`: which value it is, -1 for none. `same`: only the length changes.
    """

    memory: RequestMemory
    head: Head
    route: Route
    key: KeyInfo
    key_version: int
    close: bool
    form: Form
    request_id: int
    session: int
    same: bool
    size: int

    def read(self, data: bytes) -> tuple[Head, int, int] | None:
        """The head that `data` begins with, where it ends, and its body's length.

        None: it must be judged.
        """
        found = self.form.read(data)
        if found is None:
            return None
        end, length, passed, values = found
        if length < 0:
            length = 0
        if self.same:
            return self.head, end, length
        request_id = values[self.request_id] if self.request_id >= 0 else b""
        if request_id and not REQUEST_ID.fullmatch(request_id):
            return None
        old = self.head
        head = Head(
            method=old.method,
            target=old.target,
            passed=passed,
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
        return head, end, length


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

    def find(self, data: bytes) -> KnownRequest | None:
        """What is known of heads like the one that `data` begins with."""
        end = data.find(b"\r\n\r\n") + 2
        return self._known.get(cut(self._pattern, data[:end])[0]) if end >= 2 else None

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
        form = form_of(self._pattern, fixed, values, head.passed)
        if form is None or not self._again(fixed):
            return
        names = _names(fixed)
        shared, size = replace(head, content_length=None), _COPIES * len(lines) + _OVERHEAD
        known = KnownRequest(
            memory=self,
            head=shared,
            route=route,
            key=key,
            key_version=version,
            close=close,
            form=form,
            request_id=_place(names, REQUEST),
            session=_place(names, self.session_header),
            same=names == [LENGTH],
            size=size,
        )
        whole = lines + b"\r\n"
        if known.read(whole) == (shared, len(whole), head.content_length or 0):
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


class ResponseMemory:
    """The kinds of heads one connection to a worker has brought."""

    __slots__ = ("_known", "_last")

    def __init__(self) -> None:
        self._known: dict[Fixed, tuple[ResponseHead, Form]] = {}
        self._last: tuple[ResponseHead, Form] | None = None

    def find(self, data: bytes) -> tuple[ResponseHead, int] | None:
        """The head that `data` begins with and where it ends; None: it must be read.

        It is written over by the connection's next answer.
        """
        last = self._last
        found = last[1].read(data) if last is not None else None
        if last is None or found is None:
            end = data.find(b"\r\n\r\n") + 2
            last = self._known.get(cut(_RESPONSE, data[:end])[0]) if end >= 2 else None
            found = last[1].read(data) if last is not None else None
            if last is None or found is None:
                return None
            self._last = last
        head = last[0]
        end, length, head.passed, _ = found
        if length >= 0:
            head.length = length
        return head, end

    def add(self, raw: bytes, head: ResponseHead) -> None:
        """Remember a head that was read, if it can be given back; `raw`: without the blank line."""
        if head.status < 200 or len(raw) > MAX_HEAD:
            return
        fixed, values = cut(_RESPONSE, raw + b"\r\n")
        form = form_of(_RESPONSE, fixed, values, head.passed)
        found = form.read(raw + b"\r\n\r\n") if form is not None else None
        length = -1 if head.length is None else head.length
        if form is None or found is None or found[:3] != (len(raw) + 4, length, head.passed):
            return
        if len(self._known) >= _MAX_RESPONSES:
            self._known.clear()
        self._known[fixed] = (replace(head), form)
