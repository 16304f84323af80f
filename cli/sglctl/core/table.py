"""A plain table: columns as wide as their longest cell."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[object]], indent: str = "") -> list[str]:
    """Lines, left-aligned, two spaces between columns."""
    if not rows:
        return []
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        (indent + "  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True))).rstrip()
        for row in cells
    ]
