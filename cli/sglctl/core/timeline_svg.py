"""Arrivals of workers as an SVG: its own background, light or dark as the reader's page. Pure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, Template

from sglctl.core.timeline import PHASES, Arrival, Span, axis_s, comparison, in_order, ticks

#: Pixels. `_GUTTER`: labels at the left; `_MARGIN`: outcomes at the right.
_WIDTH, _GUTTER, _MARGIN, _TOP, _ROW, _BAR = 880, 196, 96, 78, 36, 20
#: Narrower bars have no room for their seconds.
_LABELLED = 34
#: Okabe and Ito's palette: told apart by colour-blind readers, and on white as on black.
#: https://jfly.uni-koeln.de/color/
_COLOUR = {
    "request": "#999999", "launch": "#0072b2", "boot": "#56b4e9", "agent": "#009e73",
    "hydrate": "#e69f00", "engine_start": "#d55e00", "warm_up": "#cc79a7",
}  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A phase's bar; `x` and `width` in pixels. `label`: its seconds, empty where it is narrow."""

    x: float
    width: float
    colour: str
    ended: bool
    label: str
    title: str


@dataclass(frozen=True)
class Row:
    y: int
    name: str
    detail: str
    boxes: tuple[Box, ...]
    end: float
    outcome: str


def draw(arrivals: Sequence[Arrival], title: str) -> str:
    """The document, one row a worker. Raises ValueError for no arrivals."""
    if not arrivals:
        raise ValueError("no worker to draw")
    found = in_order(arrivals)
    longest = axis_s(found)
    per_second = (_WIDTH - _GUTTER - _MARGIN) / longest
    bottom = _TOP + _ROW * len(found)
    shown = [name for name in PHASES if any(one.seconds(name) is not None for one in found)]
    return _template().render(
        title=title, note=comparison(found) or "", width=_WIDTH, height=bottom + 44,
        top=_TOP, bottom=bottom, bar=_BAR, left=_GUTTER,
        axis=[(_GUTTER + tick * per_second, f"{tick:g} s") for tick in ticks(longest)],
        legend=_legend(shown),
        rows=[_row(one, per_second, _TOP + _ROW * index) for index, one in enumerate(found)],
    )  # fmt: skip


@functools.cache
def _template() -> Template:
    pages = Environment(
        loader=PackageLoader("sglctl.core", "."), autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return pages.get_template("timeline.svg.j2")


def _row(one: Arrival, per_second: float, y: int) -> Row:
    detail = " · ".join(text for text in (one.kind, one.fleet, one.instance_type) if text)
    boxes = tuple(_box(span, per_second) for span in one.spans)
    return Row(y, one.instance_id, detail, boxes, _GUTTER + one.end_s * per_second, one.outcome)


def _box(span: Span, per_second: float) -> Box:
    width, seconds = span.seconds * per_second, f"{span.seconds:.1f}"
    return Box(
        x=_GUTTER + span.start_s * per_second,
        width=width,
        colour=_COLOUR.get(span.name, "#999999"),
        ended=span.ended,
        label=seconds if width >= _LABELLED else "",
        title=f"{PHASES.get(span.name, span.name)}: {seconds} s",
    )


def _legend(names: Sequence[str]) -> list[tuple[float, str, str]]:
    """(x, colour, name) of each phase, about as far apart as the names are long."""
    places, x = [], float(_GUTTER)
    for name in names:
        places.append((x, _COLOUR[name], PHASES[name]))
        x += 30 + 6.6 * len(PHASES[name])
    return places
