"""Scenarios are data, and data that makes no sense is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chaos.errors import ScenarioError
from tests.chaos.loader import chosen, load_all, load_file
from tests.chaos.scenario import Scenario
from tests.chaos.stage import KINDS, Fleet
from tests.chaos.suite import next_for

GOOD: dict[str, Any] = {
    "name": "one-thing",
    "promise": "Nothing is lost.",
    "actions": [{"do": "desired", "workers": 1}],
}

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown action": ({"actions": [{"do": "pray"}]}, "actions.0"),
    "no action": ({"actions": []}, "actions"),
    "a misspelt key": ({"expects": {}}, "expects"),
    "a worker that is not there": (
        {"actions": [{"do": "vanish", "worker": 2}]}, "there is no worker 2 among 2",
    ),
    "a concern about a worker that is not there": ({"concerns": [4]}, "no worker 4"),
    "an allowance for what is never right": (
        {"expect": {"allowed": [{"outcome": "silent"}]}}, "allowed.0.outcome",
    ),
    "a refusal allowed without its code": (
        {"expect": {"allowed": [{"outcome": "refused"}]}}, "codes",
    ),
    "a name that is no name": ({"name": "One Thing"}, "name"),
    "no promise": ({"promise": ""}, "promise"),
}  # fmt: skip


def written(tmp_path: Path, *documents: object) -> Path:
    file = tmp_path / "some.yaml"
    file.write_text(yaml.safe_dump(list(documents)))
    return file


def test_there_are_at_least_25_scenarios_and_three_quick_ones() -> None:
    found = load_all()
    assert len(found) >= 25
    assert sum(one.quick for one in found) >= 3


def test_every_scenario_has_a_fleet_of_the_stage_that_can_play_it() -> None:
    fleets = [Fleet(name, kind, "m7i.large") for name, kind in KINDS.items()]
    for one in load_all():
        assert any(next_for(fleet, [one]) is one for fleet in fleets), one.name


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_scenario_is_refused_with_its_name_and_key(name: str, tmp_path: Path) -> None:
    changed, words = WRONG[name]
    with pytest.raises(ScenarioError, match=words) as refused:
        load_file(written(tmp_path, {**GOOD, **changed}))
    assert str(refused.value).startswith(f"some.yaml: {changed.get('name', 'one-thing')}: ")


def test_two_scenarios_of_one_name_are_refused(tmp_path: Path) -> None:
    written(tmp_path, GOOD, GOOD)
    with pytest.raises(ScenarioError, match="two scenarios are called one-thing"):
        load_all(tmp_path)


@pytest.mark.parametrize(("text", "words"), [("a: [", "some.yaml"), ("a: 1", "not a list")])
def test_a_file_that_is_no_list_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_text(text)
    with pytest.raises(ScenarioError, match=words):
        load_file(file)


def test_only_keeps_scenarios_by_a_part_of_their_name() -> None:
    found = [Scenario.model_validate({**GOOD, "name": name}) for name in ("agent-killed", "other")]
    assert [one.name for one in chosen(found, ["agent"])] == ["agent-killed"]
    assert chosen(found, []) == found
    with pytest.raises(ScenarioError, match="no scenario is called nothing"):
        chosen(found, ["nothing"])


def test_a_fleet_plays_first_what_only_it_can_play_and_a_warm_one_nothing_else() -> None:
    anywhere = Scenario.model_validate(GOOD)
    own = Scenario.model_validate({**GOOD, "name": "own", "fleet": "spot"})
    spot, warm = Fleet("spot", "spot", "m7i.large"), Fleet("warm", "warm", "m7i.large")
    assert next_for(spot, [anywhere, own]) is own
    assert next_for(spot, [anywhere]) is anywhere
    assert next_for(warm, [anywhere, own]) is None


def test_the_readme_counts_the_scenarios_that_there_are() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"in {len(load_all())} scenarios" in readme
