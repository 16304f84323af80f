"""Cases as data: `given` a group, `steps` that call and expect, the page they rest on.

docs/reference/local.md explains the fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

CASES = Path(__file__).parents[1] / "cases" / "autoscaling"
WITHIN_S = 30


class Strict(BaseModel):
    """No field that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Refusal(Strict):
    """The error a call must end with; `message` is a regular expression."""

    code: str
    message: str


class Step(Strict):
    """One thing done or expected. `call`: an operation of `service`; Auto Scaling's get the group's
    name. `listen`: an event pattern from now on, whose events `expect: {events: …}` counts.
    `template_version`: a new one for the group, `unused`: made and left alone.
    """

    call: str | None = None
    service: Literal["autoscaling", "cloudwatch", "events"] = "autoscaling"
    arguments: dict[str, Any] = {}
    refused: Refusal | None = None
    repeat: int = 1
    every: float = 0.0
    remember: dict[str, str] = {}
    wait: float | None = None
    expect: dict[str, Any] | None = None
    within: float = WITHIN_S
    holds: float | None = None
    ec2: Literal["terminate", "stop"] | None = None
    instance: str | None = None
    fault: dict[str, Any] | None = None
    listen: dict[str, Any] | None = None
    template_version: Literal["used", "unused"] | None = None


class Case(Strict):
    """One documented behaviour. `emulator_only`: the reason why it cannot be run on AWS."""

    name: str
    rests_on: str
    given: dict[str, Any]
    steps: list[Step]
    emulator_only: str = ""


def load() -> list[tuple[str, Case]]:
    """Every case with the name of its file, in order."""
    found = []
    for file in sorted(CASES.glob("*.yaml")):
        for document in yaml.safe_load(file.read_text()):
            found.append((file.stem, Case.model_validate(document)))
    return found
