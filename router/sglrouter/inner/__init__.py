"""What runs per token, per block and per request: each twice, in C and in Python.

The C was built where a compiler was there when the package was installed; `BUILT` says so.
SGLROUTER_PURE=1 leaves it aside.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sglrouter.inner import blocks, ending, form, relay, row, table, work

if TYPE_CHECKING:
    from sglrouter.inner.ending import Tally, Used
    from sglrouter.inner.form import Form
    from sglrouter.inner.relay import Meter, Relay
    from sglrouter.inner.row import Row
    from sglrouter.inner.table import Table
    from sglrouter.inner.work import Work

BUILT = False
if not os.environ.get("SGLROUTER_PURE"):
    try:
        from sglrouter.inner import _body, _inner, _request, _row
    except ImportError:
        pass
    else:
        BUILT = True


def _read_in_python(tail: bytes) -> Used | None:
    """The twin of C's `scan_usage`: it leaves every tail to `serving.usage`."""
    return None


def _leave_to_python(body: bytes) -> tuple[str | None, bytes, int, int, int] | None:
    """The twin of C's `read_body`: it leaves every body to orjson and `policy.prompt`."""
    return None


if not TYPE_CHECKING:
    Meter, Relay = (_inner.Meter, _inner.Relay) if BUILT else (relay.Meter, relay.Relay)
    Form = _request.Form if BUILT else form.Form
    Row = _row.Row if BUILT else row.Row
    Table = _inner.Index if BUILT else table.Table
    Tally = _request.Tally if BUILT else ending.Tally
    Work = _request.Work if BUILT else work.Work
scan_usage = _inner.scan_usage if BUILT else _read_in_python
least_work = _request.least_work if BUILT else work.least_work
request_line = _request.request_line if BUILT else ending.request_line
read_body = _body.read_body if BUILT else _leave_to_python
hash_blocks = _body.hash_blocks if BUILT else blocks.hash_blocks

__all__ = [
    "BUILT",
    "Form",
    "Meter",
    "Relay",
    "Row",
    "Table",
    "Tally",
    "Work",
    "hash_blocks",
    "least_work",
    "read_body",
    "request_line",
    "scan_usage",
]
