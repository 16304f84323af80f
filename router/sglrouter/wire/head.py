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
# Read by name below; everything else is passed on untouched.
SPECIAL = HOP_BY_HOP | {
    b"host",
    b"authorization",
    b"x-api-key",
    b"content-length",
    b"transfer-encoding",
    b"expect",
    b"x-request-id",
    b"content-type",
    b"x-sglctl-hop",
    b"x-sglctl-priority",
}
# Of these, the ones that a worker gets too.
_READ_AND_PASSED = frozenset({b"x-request-id", b"content-type", b"x-sglctl-priority"})
# SGLang can be told to let these override fields of the body (entrypoints/request_headers.py):
# addresses of prefill workers, request ids and priorities that are not a client's to choose.
_OVERRIDES = b"x-override-"
SESSION_HEADER = b"x-session-id"
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_OPAQUE = (b"multipart/", b"application/octet-stream", b"audio/", b"image/")
_ABSOLUTE = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)


class BadHeadError(Exception):
    """The head is refused; the connection must be closed, since its framing is in doubt."""

    def __init__(self, message: str, code: str = "bad_request", status: int = 400) -> None:
        super().__init__(message)
        self.failure = Failure(status, code, message)


@dataclass(slots=True)
class Head:
    """`passed` are header lines for the worker, each ending in CRLF; `credential` the API key.

    `framed`: a length or a coding was announced; `content_length` is None in a remembered head,
    whose body has its own. `credentials`: the lines that held the key, for another router.
    `session`, `hop`, `priority`: values as sent, empty without the header.
    `opaque`: the body is of a kind that is not JSON. `traced`: there is a trace context.
    """

    method: bytes
    target: bytes
    passed: bytes
    content_type: bytes
    content_length: int | None
    chunked: bool
    expects_continue: bool
    credential: bytes
    request_id: bytes
    framed: bool
    credentials: bytes
    session: bytes
    hop: bytes
    priority: bytes
    opaque: bool
    traced: bool

    def for_worker(
        self, host: bytes, body_length: int, request_id: bytes, extra: bytes = b""
    ) -> bytes:
        """The head a worker gets; `extra` are further lines, each ending in CRLF.

        A chunked body has become one of known length.
        """
        framing = b"content-length: %d\r\n\r\n" % body_length if self.framed else b"\r\n"
        if not self.request_id:
            extra += b"x-request-id: " + request_id + b"\r\n"
        line = (self.method, b" ", self.target, b" HTTP/1.1\r\nhost: ", host, b"\r\n")
        return b"".join((*line, self.passed, extra, framing))


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


def read_head(
    method: bytes,
    target: bytes,
    headers: Headers,
    http10: bool,
    session_header: bytes = SESSION_HEADER,
) -> Head:
    """Judge and rewrite a request's head; `session_header` in lower case. Raises BadHeadError."""
    special: dict[bytes, list[bytes]] = {}
    passed = []
    for name, value in headers:
        lower = name.lower()
        if lower in SPECIAL or lower == session_header:
            special.setdefault(lower, []).append(value)
            if lower in SPECIAL and lower not in _READ_AND_PASSED:
                continue
        elif lower.startswith(_OVERRIDES):
            continue
        passed.append((lower, name + b": " + value + b"\r\n"))
    hosts = special.get(b"host", [])
    if len(hosts) > 1 or (not hosts and not http10):
        raise BadHeadError("there must be one Host header")
    if method == b"CONNECT" or not (target := origin_form(target)).startswith(b"/"):
        raise BadHeadError("this method or target is not served", "method_not_allowed", 405)
    length, chunked = _length(
        special.get(b"content-length", []), special.get(b"transfer-encoding", [])
    )
    if http10 and chunked:
        raise BadHeadError("HTTP/1.0 has no chunked coding")
    dropped = _named(special.get(b"connection", []))
    authorization, api_key = _first(special, b"authorization"), _first(special, b"x-api-key")
    request_id = _first(special, b"x-request-id")
    if b"x-request-id" in dropped or not REQUEST_ID.fullmatch(request_id):
        request_id = b""
        dropped.add(b"x-request-id")
    return Head(
        method=method,
        target=target,
        passed=b"".join([line for lower, line in passed if lower not in dropped]),
        content_type=_first(special, b"content-type"),
        content_length=length,
        chunked=chunked,
        expects_continue=_expects_continue(special.get(b"expect", [])) and not http10,
        credential=_credential(authorization, api_key),
        request_id=request_id,
        framed=chunked or length is not None,
        credentials=_lines((b"authorization", authorization), (b"x-api-key", api_key)),
        session=_first(special, session_header),
        hop=_first(special, b"x-sglctl-hop"),
        priority=_first(special, b"x-sglctl-priority"),
        opaque=_first(special, b"content-type").lower().startswith(_OPAQUE),
        traced=any(lower == b"traceparent" for lower, _ in passed),
    )


def _first(special: dict[bytes, list[bytes]], name: bytes) -> bytes:
    values = special.get(name)
    return values[0] if values else b""


def _named(connection: list[bytes]) -> set[bytes]:
    """What Connection calls hop-by-hop."""
    return {token.strip().lower() for value in connection for token in value.split(b",")}


def _lines(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"".join([name + b": " + value + b"\r\n" for name, value in pairs if value])


def _expects_continue(values: list[bytes]) -> bool:
    if values and (len(values) > 1 or values[0].lower() != b"100-continue"):
        raise BadHeadError("only Expect: 100-continue is known", "expectation_failed", 417)
    return bool(values)


@dataclass(slots=True)
class ResponseHead:
    """A worker's response head: `passed` are status line and header lines for the client.

    Each line ends in CRLF. `length`: Content-Length; `keep`: the connection may be used again.
    """

    status: int
    passed: bytes
    content_type: bytes
    chunked: bool
    length: int | None
    keep: bool
    event_stream: bool

    def bodyless(self, method: bytes) -> bool:
        return method == b"HEAD" or self.status in (204, 304)

    def until_close(self, method: bytes) -> bool:
        """True when only the end of the connection ends the body (RFC 9112, section 6.3)."""
        return not (self.bodyless(method) or self.chunked or self.length is not None)

    def dechunked(self) -> bytes:
        """`passed` for a client that knows no chunks."""
        lines = self.passed.splitlines(keepends=True)
        return b"".join([x for x in lines if not x.lower().startswith(b"transfer-encoding:")])


def read_response_head(raw: bytes, status: int, *, keep: bool = False) -> ResponseHead:
    """Split a worker's head (without the blank line); hop-by-hop lines are dropped.

    Values and order of all others are kept byte for byte. Raises BadHeadError.
    """
    lines = raw.split(b"\r\n")
    named: set[bytes] = set()
    pairs = []
    content_type, coding, length = b"", b"", None
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        lower = name.lower()
        if lower == b"connection":
            named |= _named([value])
        elif lower == b"content-type":
            content_type = value.strip()
        elif lower == b"transfer-encoding":
            coding = value.strip().lower()
        elif lower == b"content-length":
            if length is not None or not value.strip().isdigit():
                raise BadHeadError("the length of the answer is ambiguous")
            length = int(value)
        pairs.append((lower, line + b"\r\n"))
    if coding and length is not None:
        raise BadHeadError("the length of the answer is ambiguous")
    named -= {b"content-length", b"transfer-encoding", b"content-type"}
    named |= {b"connection", b"keep-alive", b"proxy-connection", b"x-request-id"}
    named |= {b"x-sglctl-worker", b"x-sglctl-tier"}
    kept = [line for lower, line in pairs if lower not in named]
    return ResponseHead(
        status=status,
        passed=b"".join([lines[0], b"\r\n", *kept]),
        content_type=content_type,
        chunked=coding.endswith(b"chunked"),
        length=length,
        keep=keep,
        event_stream=content_type.lower().startswith(b"text/event-stream"),
    )
