"""Why a launch failed, and where the instance's own words are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sglctl.aws.fleet_state import FailedActivity, last_failure
from sglctl.operations.wait import told

_ABANDONED = FailedActivity("sgl-local-chat-ondemand", "it was abandoned", "i-0abc")


class _Session:
    """Answers DescribeScalingActivities from a table: group → activities."""

    def __init__(self, activities: dict[str, list[dict[str, Any]]]) -> None:
        self._activities = activities

    def client(self, _service: str) -> Any:
        return self

    def describe_scaling_activities(self, *, AutoScalingGroupName: str, MaxRecords: int) -> Any:  # noqa: N803
        return {"Activities": self._activities[AutoScalingGroupName][:MaxRecords]}


def _activity(minute: int, status: str, message: str, description: str) -> dict[str, Any]:
    return {
        "StartTime": datetime(2026, 11, 21, 10, minute, tzinfo=UTC),
        "StatusCode": status,
        "StatusMessage": message,
        "Description": description,
    }


def test_the_newest_failure_names_its_instance() -> None:
    session: Any = _Session(
        {
            "a": [_activity(1, "Failed", "old", "Launching a new EC2 instance: i-01")],
            "b": [
                _activity(5, "Successful", "", "Launching a new EC2 instance: i-03"),
                _activity(4, "Failed", "abandoned", "Launching a new EC2 instance: i-02"),
            ],
        }
    )
    assert last_failure(session, ["a", "b"]) == FailedActivity("b", "abandoned", "i-02")


def test_a_refused_launch_has_no_instance() -> None:
    session: Any = _Session({"a": [_activity(1, "Failed", "no capacity", "Launching")]})
    assert last_failure(session, ["a"]) == FailedActivity("a", "no capacity", None)
    assert last_failure(session, []) is None


@pytest.mark.parametrize(
    ("failed", "emulated", "expected"),
    [
        (
            _ABANDONED,
            True,
            "sgl-local-chat-ondemand: it was abandoned "
            "(what i-0abc said: sglctl local logs --env prod i-0abc)",
        ),
        (
            _ABANDONED,
            False,
            "sgl-local-chat-ondemand: it was abandoned (what i-0abc said: "
            "aws logs tail /sglctl/prod/worker --log-stream-names i-0abc)",
        ),
        (FailedActivity("g", "no capacity", None), False, "g: no capacity"),
    ],
)
def test_the_command_that_shows_the_instances_words(
    failed: FailedActivity, emulated: bool, expected: str
) -> None:
    assert told(failed, "worker", "prod", emulated=emulated) == expected
