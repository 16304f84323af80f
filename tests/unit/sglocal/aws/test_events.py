"""Which events are sent for what happens to instances and refreshes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sglocal.aws.autoscaling.events import ended, refresh_kind
from sglocal.aws.autoscaling.records import Activity
from sglocal.aws.instance_events import passed_through

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, "pending", ["pending"]),
        (None, "running", ["pending", "running"]),
        ("pending", "running", ["running"]),
        ("stopped", "running", ["pending", "running"]),
        ("running", "running", []),
        ("running", "stopped", ["stopping", "stopped"]),
        ("stopping", "stopped", ["stopped"]),
        ("running", "terminated", ["shutting-down", "terminated"]),
        ("shutting-down", "terminated", ["terminated"]),
    ],
)
def test_no_state_is_left_out_between_two_looks(
    before: str | None, after: str, expected: list[str]
) -> None:
    assert passed_through(before, after) == expected


@pytest.mark.parametrize(
    ("description", "status", "expected"),
    [
        (
            "Launching a new EC2 instance: i-1",
            "Successful",
            ("EC2 Instance Launch Successful", "EC2", "AutoScalingGroup", "i-1"),
        ),
        (
            "Launching a new EC2 instance",
            "Failed",
            ("EC2 Instance Launch Unsuccessful", "EC2", "AutoScalingGroup", ""),
        ),
        (
            "Launching a new EC2 instance into warm pool: i-1",
            "Cancelled",
            ("EC2 Instance Launch Unsuccessful", "EC2", "WarmPool", "i-1"),
        ),
        (
            "Launching a new EC2 instance from warm pool: i-1",
            "Successful",
            ("EC2 Instance Launch Successful", "WarmPool", "AutoScalingGroup", "i-1"),
        ),
        (
            "Returning EC2 instance to warm pool: i-1",
            "Successful",
            ("EC2 Instance Terminate Successful", "AutoScalingGroup", "WarmPool", "i-1"),
        ),
        (
            "Terminating EC2 instance: i-1",
            "Successful",
            ("EC2 Instance Terminate Successful", "AutoScalingGroup", "EC2", "i-1"),
        ),
        (
            "Detaching EC2 instance: i-1",
            "Successful",
            ("EC2 Instance Detach Successful", "AutoScalingGroup", "EC2", "i-1"),
        ),
        ("Moving EC2 instance to Standby: i-1", "Successful", None),
    ],
)
def test_an_activity_that_ended_says_what_moved_where(
    description: str, status: str, expected: tuple[str, str, str, str] | None
) -> None:
    activity = Activity("workers", description, "because", "arn:group", NOW)
    activity.finish(NOW, status)
    event = ended(activity)
    if event is None:
        assert expected is None
        return
    kind, detail = event
    assert (kind, detail["Origin"], detail["Destination"], detail["EC2InstanceId"]) == expected


def test_an_activity_in_progress_has_no_event() -> None:
    activity = Activity("workers", "Terminating EC2 instance: i-1", "because", "arn:group", NOW)
    assert ended(activity) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("InProgress", "EC2 Auto Scaling Instance Refresh Started"),
        ("RollbackSuccessful", "EC2 Auto Scaling Instance Refresh Rollback Succeeded"),
        ("Pending", None),
        ("Cancelling", None),
    ],
)
def test_a_refresh_has_events_for_the_documented_statuses(
    status: str, expected: str | None
) -> None:
    assert refresh_kind(status) == expected
