"""The generated parts of docs/reference/local.md: `python tests/contract/autoscaling/reference.py`.

Between `<!-- begin NAME -->` and `<!-- end NAME -->` the document holds what is computed here.
"""

from __future__ import annotations

import re
import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from case_files import Case, load

from sglocal.aws.silent import table

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "local.md"


def cases() -> str:
    """Every case by file: what is shown, the page it rests on, whether AWS can be asked too."""
    found = load()
    both = sum(not case.emulator_only for _, case in found)
    lines = [f"{len(found)} cases, {both} of them can run on AWS.", ""]
    for name, group in groupby(found, key=lambda pair: pair[0]):
        lines += [f"### {name.replace('_', ' ').capitalize()}", "", "| Case | Page | AWS |"]
        lines += ["|---|---|---|", *(_row(case) for _, case in group), ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(case: Case) -> str:
    page = case.rests_on.rsplit("/", 1)[1].removesuffix(".html")
    on_aws = f"no: {case.emulator_only}" if case.emulator_only else "yes"
    return f"| {case.name} | [{page}]({case.rests_on}) | {on_aws} |"


PARTS = {"cases": cases, "silent": table}


def current(text: str) -> str:
    """The document with every generated part as it should be. Raises KeyError without markers."""
    for name, make in PARTS.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise KeyError(f"{DOCUMENT} lacks {begin} … {end}")
        part = f"{begin}\n\n{make()}\n{end}"
        text = pattern.sub(lambda _, part=part: part, text)
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(current(DOCUMENT.read_text()))
