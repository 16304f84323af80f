"""Arrivals of workers as text: a table of seconds, and bars on one time axis. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sglctl.core.table import table
from sglctl.core.timeline import PHASES, Arrival, axis_s, comparison, in_order, ticks

#: One letter for each phase; a bar is made of them.
_LETTER = {
    "request": "r", "launch": "l", "boot": "b", "agent": "a", "hydrate": "h",
    "engine_start": "e", "warm_up": "w",
}  # fmt: skip


def draw(arrivals: Sequence[Arrival], width: int = 100) -> str:
    """`width`: columns of the whole drawing. Empty for no arrivals."""
    found = in_order(arrivals)
    if not found:
        return ""
    names = [name for name in PHASES if any(one.seconds(name) is not None for one in found)]
    legend = "  ".join(f"{_LETTER[name]} {PHASES[name]}" for name in names)
    lines = [*_figures(found, names), "", *_bars(found, width), "", legend]
    told = comparison(found)
    return "\n".join([*lines, told] if told else lines)


def _figures(arrivals: Sequence[Arrival], names: Sequence[str]) -> list[str]:
    head = ("WORKER", "FLEET", "KIND", "STATE", *(PHASES[name].upper() for name in names),
            "READY", "FIRST REQUEST")  # fmt: skip
    rows = [
        (one.instance_id, one.fleet, one.kind, one.state,
         *(_seconds(one.seconds(name)) for name in names),
         _seconds(one.ready_s), _seconds(one.first_request_s))
        for one in arrivals
    ]  # fmt: skip
    return table([head, *rows])


def _bars(arrivals: Sequence[Arrival], width: int) -> list[str]:
    labels = [f"{one.instance_id} {one.kind}" for one in arrivals]
    gutter = max(map(len, labels)) + 2
    columns = max(20, width - gutter - 8)
    longest = axis_s(arrivals)
    lines = [
        f"{label:{gutter - 2}} |{bar(one, columns / longest)} {one.outcome}"
        for label, one in zip(labels, arrivals, strict=True)
    ]
    return [*lines, " " * (gutter - 1) + _axis(longest, columns)]


def bar(one: Arrival, per_second: float) -> str:
    """Letters; their ends are rounded, so that the bar is as long as its sum."""
    text = ""
    for span in one.spans:
        until = round((span.start_s + span.seconds) * per_second)
        text += _LETTER.get(span.name, "?") * (until - len(text))
    return text


def _axis(longest: float, columns: int) -> str:
    """Seconds below the bars, left-aligned at their place."""
    text = ""
    for tick in ticks(longest, most=max(2, columns // 8)):
        text = text.ljust(round(tick * columns / longest))
        text += f"|{tick:g}"
    return f"{text} s"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
