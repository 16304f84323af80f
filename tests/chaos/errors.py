"""What stops the suite itself: never a scenario's verdict."""

from __future__ import annotations


class ChaosError(Exception):
    """The suite cannot run.

    ├── ScenarioError   a scenario's data makes no sense
    └── StageError      the environment under test does not come up, or is not as described
    """


class ScenarioError(ChaosError):
    """Names the file, the scenario and the key."""


class StageError(ChaosError):
    """Says what was tried, and what it answered."""
