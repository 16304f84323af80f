"""W3C trace context (https://www.w3.org/TR/trace-context/): passed on untouched, and logged."""

from __future__ import annotations

import re

_NAME = b"\ntraceparent:"
_VALUE = re.compile(rb"[ \t]*[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_NONE = b"0" * 32


def trace_id(header_lines: bytes) -> str:
    """The id of the trace a request belongs to, "" without a valid one.

    `header_lines`: each ending in CRLF. Version 00 and later ones begin alike (section 3.2.2).
    """
    lines = b"\n" + header_lines.lower()  # a search that ignores case would cost ten times as much
    at = lines.find(_NAME)
    found = _VALUE.match(lines, at + len(_NAME)) if at >= 0 else None
    if found is None or found[1] == _NONE:
        return ""
    return found[1].decode()
