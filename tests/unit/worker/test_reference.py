"""docs/reference/agent.md names everything the agent tells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from sglworker import drain, machine, metrics
from sglworker.models import StateName
from sglworker.worker import Worker

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "reference/agent.md").read_text(encoding="utf-8")
DOCUMENTED = set(re.findall(r"`(sglworker_\w+)(?:\{\w+\})?`", PAGE))


def test_the_metrics_of_the_page_are_those_of_the_agent() -> None:
    """None is missing, and none is only written down."""
    told = set(re.findall(r"^# TYPE (\w+)", metrics.render(Worker()), re.MULTILINE))
    assert told == DOCUMENTED


@pytest.mark.parametrize("state", get_args(StateName))
def test_every_state_has_its_row(state: str) -> None:
    assert re.search(rf"^\| `{state}` \|", PAGE, re.MULTILINE)


def test_the_diagram_of_the_states_has_every_way_and_no_other() -> None:
    """An arrow from the box is one from each state in it."""
    page = (DOCS / "explanation/lifecycle.md").read_text(encoding="utf-8")
    diagram = page.partition("```mermaid\n")[2].partition("```")[0]
    box, within = re.search(r"as (\w+) \{(.*?)\}", diagram, re.DOTALL).groups()  # type: ignore[union-attr]
    arrows = set(re.findall(r"(\w+) --> (\w+):", diagram))
    boxed = {state for arrow in re.findall(r"(\w+) --> (\w+):", within) for state in arrow}
    ways = {
        (state, target)
        for start, target in arrows
        for state in (boxed if start == box else {start})
    }
    assert ways == {(state, target) for (state, _), target in machine.TRANSITIONS.items()}


def test_triggers_stand_in_the_order_of_their_strength() -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith("Triggers, weakest first"))
    named = [word for word in re.findall(r"`(\w+)`", line) if word in list(drain.Trigger)]
    assert named == list(drain.Trigger)
