"""The quickest scenarios on a fleet of their own; `make chaos` plays all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.chaos.loader import load_all
from tests.chaos.play import play
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage, deploy, remove
from tests.chaos.suite import left_at_the_end
from tests.e2e.harness import Sglctl

pytestmark = [pytest.mark.terraform, pytest.mark.timeout(1800)]
QUICK = {one.name: one for one in load_all() if one.quick}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("chaos") / "stage"
    try:
        yield deploy(folder, ("one",))
    finally:
        assert remove(Sglctl(folder / "checkout", folder / "state", "local", {})) == []


@pytest.mark.parametrize("scenario", QUICK.values(), ids=QUICK)
def test_a_quick_scenario_holds(stage: Stage, scenario: Scenario) -> None:
    said: list[str] = []
    played = asyncio.run(play(stage, stage.fleets[0], scenario, said.append))
    assert (played.problems, played.skipped) == ([], ""), said


def test_nothing_is_left_when_all_have_ended(stage: Stage) -> None:
    assert asyncio.run(left_at_the_end(stage)) == []
