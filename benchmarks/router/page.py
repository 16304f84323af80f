"""docs/explanation/router.md: its tables are written by the commands that make them."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from benchmarks.router.peers import ROOT

PAGE = ROOT / "docs" / "explanation" / "router.md"


def put(page: str, name: str, text: str) -> str:
    """The page with `text` between `<!-- name: begin -->` and its end.

    Raises ValueError when the markers are not there.
    """
    opening, closing = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = page.partition(opening)
    _, end, after = rest.partition(closing)
    if not begin or not end:
        raise ValueError(f"no {opening} … {closing} in the page")
    return f"{before}{opening}\n{text}\n{closing}{after}"


def write(name: str, text: str, *, page: Path = PAGE) -> None:
    """Put `text` there, with the day and the machine it comes from."""
    today = datetime.datetime.now(datetime.UTC).date()
    told = f"Seen on {today}, {cpu_model()}, {os.cpu_count()} cores shared with other work."
    page.write_text(put(page.read_text(), name, f"\n{told}\n\n{text}\n"))


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"
