"""Scenarios from `scenarios/*.yaml`: each file a list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tests.chaos.errors import ScenarioError
from tests.chaos.scenario import Scenario

FOLDER = Path(__file__).parent / "scenarios"


def load_all(folder: Path = FOLDER) -> list[Scenario]:
    """Every scenario, in the order of files and lists. Raises ScenarioError."""
    found = [one for file in sorted(folder.glob("*.yaml")) for one in load_file(file)]
    if not found:
        raise ScenarioError(f"{folder}: no scenarios")
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ScenarioError(f"{folder}: two scenarios are called {twice[0]}")
    return found


def load_file(file: Path) -> list[Scenario]:
    """Raises ScenarioError with the scenario and the key that is wrong."""
    try:
        documents = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ScenarioError(f"{file}: {error}") from error
    if not isinstance(documents, list):
        raise ScenarioError(f"{file}: not a list of scenarios")
    return [_parsed(file, number, document) for number, document in enumerate(documents)]


def _parsed(file: Path, number: int, document: Any) -> Scenario:
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        name = document.get("name", number) if isinstance(document, dict) else number
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise ScenarioError(f"{file.name}: {name}: {where}: {first['msg']}") from error


def chosen(scenarios: Sequence[Scenario], only: Sequence[str]) -> list[Scenario]:
    """Those whose name contains one of `only`; all without. Raises ScenarioError."""
    for part in only:
        if not any(part in one.name for one in scenarios):
            raise ScenarioError(f"no scenario is called {part}; --list names them")
    return [one for one in scenarios if not only or any(part in one.name for part in only)]
