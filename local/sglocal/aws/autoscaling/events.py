"""What Auto Scaling tells EventBridge: pure.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-event-reference.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pools-eventbridge-events.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-eventbridge-events.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sglocal.aws.autoscaling.records import Activity

SOURCE = "aws.autoscaling"
GROUP, POOL, EC2 = "AutoScalingGroup", "WarmPool", "EC2"
# The beginnings of activities' descriptions, the longest first, with what moves where.
_MOVES = (
    ("Launching a new EC2 instance into warm pool", "Launch", EC2, POOL),
    ("Launching a new EC2 instance from warm pool", "Launch", POOL, GROUP),
    ("Launching a new EC2 instance", "Launch", EC2, GROUP),
    ("Returning EC2 instance to warm pool", "Terminate", GROUP, POOL),
    ("Terminating EC2 instance", "Terminate", GROUP, EC2),
    ("Detaching EC2 instance", "Detach", GROUP, EC2),
)
_REFRESHES = {
    "InProgress": "Started",
    "Baking": "Started Baking",
    "Successful": "Succeeded",
    "Failed": "Failed",
    "Cancelled": "Cancelled",
    "RollbackInProgress": "Rollback Started",
    "RollbackSuccessful": "Rollback Succeeded",
    "RollbackFailed": "Rollback Failed",
}


@dataclass(frozen=True)
class Move:
    """An instance from one place to another: EC2, the group or its warm pool."""

    verb: str
    origin: str
    destination: str

    @property
    def places(self) -> dict[str, str]:
        return {"Origin": self.origin, "Destination": self.destination}


def move_of(activity: Activity) -> Move | None:
    """What an activity moves; None for one that has no events."""
    for begin, verb, origin, destination in _MOVES:
        if activity.description.startswith(begin):
            return Move(verb, activity.origin or origin, destination)
    return None


def instance_of(activity: Activity) -> str:
    """The instance that an activity names, or an empty string."""
    named = activity.description.rpartition(": ")[2]
    return named if named.startswith("i-") else ""


def ended(activity: Activity) -> tuple[str, dict[str, Any]] | None:
    """The event of an activity that has ended: its type and its detail."""
    move = move_of(activity)
    if move is None or activity.end_time is None:
        return None
    good = activity.status == "Successful"
    detail = {
        # The examples of successful events say so too.
        "StatusCode": "InProgress" if good else activity.status,
        "Description": activity.description,
        "AutoScalingGroupName": activity.group,
        "ActivityId": activity.activity_id,
        "Details": activity.details,
        "RequestId": activity.activity_id,
        "StatusMessage": activity.message,
        "StartTime": activity.start_time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "EndTime": activity.end_time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "EC2InstanceId": instance_of(activity),
        "Cause": activity.cause,
        **move.places,
    }
    return f"EC2 Instance {move.verb} {'Successful' if good else 'Unsuccessful'}", detail


def refresh_kind(status: str) -> str | None:
    """The type of event when a refresh comes into a status, None for one without."""
    name = _REFRESHES.get(status)
    return None if name is None else f"EC2 Auto Scaling Instance Refresh {name}"
