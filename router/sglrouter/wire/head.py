"""A request's head: what is refused, what is passed on, what the router itself needs. Pure.

httptools (llhttp, strict) has already refused what is not HTTP/1.x at all;
here is what a proxy must refuse on top (RFC 9112, sections 3.2, 6.1 and 6.3) and the rewriting:
only hop-by-hop headers (RFC 9110, section 7.6.1), Host and credentials change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sglrouter.wire.replies import Failure

Headers = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"upgrade",
        b"http2-settings",
    }
)
# Handled by name below; everything else is passed on untouched.
_SPECIAL = HOP_BY_HOP | {
    b"host",
    b"authorization",
    b"x-api-key",
    b"content-length",
    b"transfer-encoding",
    b"expect",
    b"x-request-id",
    b"content-type",
}
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_ABSOLUTE = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)


class BadHeadError(Exception):
    """The head is refused; the connection must be closed, since its framing is in doubt."""

    def __init__(self, message: str, code: str = "bad_request", status: int = 400) -> None:
        super().__init__(message)
        self.failure = Failure(status, code, message)


@dataclass(slots=True)
class Head:
    """`passed` are header lines for the worker, each ending in CRLF; `credential` the API key."""

    method: bytes
    target: bytes
    passed: bytes
    content_type: bytes
    content_length: int | None
    chunked: bool
    expects_continue: bool
    credential: bytes
    request_id: bytes

    def for_worker(self, host: bytes, body_length: int, request_id: bytes) -> bytes:
        """The head a worker gets. A chunked body has become one of known length."""
        framing = b""
        if self.chunked or self.content_length is not None:
            framing = b"content-length: %d\r\n" % body_length
        identity = b"" if self.request_id else b"x-request-id: " + request_id + b"\r\n"
        return b"%s %s HTTP/1.1\r\nhost: %s\r\n%s%s%s\r\n" % (
            self.method,
            self.target,
            host,
            self.passed,
            identity,
            framing,
        )


def origin_form(target: bytes) -> bytes:
    """The target as a worker wants it; absolute form loses scheme and authority."""
    if target.startswith(b"/") or target == b"*":
        return target
    match = _ABSOLUTE.match(target)
    if match is None:
        raise BadHeadError("the request target must be a path")
    rest = target[match.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


def _credential(authorization: bytes, api_key: bytes) -> bytes:
    scheme, _, value = authorization.partition(b" ")
    if scheme.lower() == b"bearer" and value.strip():
        return value.strip()
    return api_key


def _length(values: list[bytes], coding: list[bytes]) -> tuple[int | None, bool]:
    if coding:
        if values or len(coding) > 1 or coding[0].strip().lower() != b"chunked":
            raise BadHeadError("the length of the body is ambiguous")
        return None, True
    if not values:
        return None, False
    if len(values) > 1 or not values[0].isdigit():
        raise BadHeadError("Content-Length must be one number")
    return int(values[0]), False


def read_head(method: bytes, target: bytes, headers: Headers, http10: bool) -> Head:
    """Judge and rewrite a request's head. Raises BadHeadError."""
    special: dict[bytes, list[bytes]] = {}
    passed = []
    for name, value in headers:
        lower = name.lower()
        if lower in _SPECIAL:
            special.setdefault(lower, []).append(value)
            if lower not in (b"content-type", b"x-request-id"):
                continue
        passed.append((lower, name + b": " + value + b"\r\n"))
    hosts = special.get(b"host", [])
    if len(hosts) > 1 or (not hosts and not http10):
        raise BadHeadError("there must be one Host header")
    if method == b"CONNECT" or not (target := origin_form(target)).startswith(b"/"):
        raise BadHeadError("this method or target is not served", "method_not_allowed", 405)
    named = {
        token.strip().lower()
        for value in special.get(b"connection", [])
        for token in value.split(b",")
    }
    length, chunked = _length(
        special.get(b"content-length", []), special.get(b"transfer-encoding", [])
    )
    if http10 and chunked:
        raise BadHeadError("HTTP/1.0 has no chunked coding")
    expect = special.get(b"expect", [])
    if expect and (len(expect) > 1 or expect[0].lower() != b"100-continue"):
        raise BadHeadError("only Expect: 100-continue is known", "expectation_failed", 417)
    given = special.get(b"x-request-id", [b""])[0]
    usable = bool(_REQUEST_ID.fullmatch(given)) and b"x-request-id" not in named
    if not usable:
        named.add(b"x-request-id")
    return Head(
        method=method,
        target=target,
        passed=b"".join([line for lower, line in passed if lower not in named])
        if named
        else b"".join([line for _, line in passed]),
        content_type=special.get(b"content-type", [b""])[0],
        content_length=length,
        chunked=chunked,
        expects_continue=bool(expect) and not http10,
        credential=_credential(
            special.get(b"authorization", [b""])[0], special.get(b"x-api-key", [b""])[0]
        ),
        request_id=given if usable else b"",
    )


@dataclass(slots=True)
class ResponseHead:
    """What the router needs of a worker's response head, and the lines passed on."""

    status: int
    lines: list[bytes]
    content_type: bytes
    chunked: bool
    has_length: bool

    @property
    def event_stream(self) -> bool:
        return self.content_type.lower().startswith(b"text/event-stream")

    def until_close(self, method: bytes) -> bool:
        """True when only the end of the connection ends the body (RFC 9112, section 6.3)."""
        bodyless = method == b"HEAD" or self.status in (204, 304)
        return not (bodyless or self.chunked or self.has_length)


def read_response_head(raw: bytes, status: int) -> ResponseHead:
    """Split a worker's head (without the blank line); hop-by-hop lines are dropped.

    Values and order of all others are kept byte for byte.
    """
    lines = raw.split(b"\r\n")
    kept = [lines[0]]
    named: set[bytes] = set()
    pairs = []
    content_type, chunked, has_length = b"", False, False
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        lower = name.lower()
        if lower == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
        elif lower == b"content-type":
            content_type = value.strip()
        elif lower == b"transfer-encoding":
            chunked = value.strip().lower().endswith(b"chunked")
        elif lower == b"content-length":
            has_length = True
        pairs.append((lower, line))
    named -= {b"content-length", b"transfer-encoding", b"content-type"}
    named |= {b"connection", b"keep-alive", b"proxy-connection", b"x-request-id"}
    named |= {b"x-sglctl-worker"}
    kept.extend(line for lower, line in pairs if lower not in named)
    return ResponseHead(status, kept, content_type, chunked, has_length)
