"""What we remember of groups and members beyond moto's own fields."""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Result = Literal["CONTINUE", "ABANDON"]

# How many activities a group keeps (AWS keeps six weeks of them).
KEPT_ACTIVITIES = 200


@dataclass
class Activity:
    """One scaling activity.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html
    """

    group: str
    description: str
    cause: str
    arn: str
    activity_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    start_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    end_time: datetime | None = None
    status: str = "InProgress"
    message: str = ""
    progress: int = 0

    def finish(self, status: str, message: str = "") -> None:
        """Successful, Failed or Cancelled."""
        if self.end_time is None:
            self.status, self.message, self.progress = status, message, 100
            self.end_time = datetime.now(UTC)

    def answer(self) -> dict[str, Any]:
        """As the API returns it."""
        return {
            "ActivityId": self.activity_id,
            "AutoScalingGroupName": self.group,
            "AutoScalingGroupARN": self.arn,
            "Description": self.description,
            "Cause": self.cause,
            "StartTime": self.start_time,
            "EndTime": self.end_time,
            "StatusCode": self.status,
            "StatusMessage": self.message or None,
            "Progress": self.progress,
            "Details": "{}",
        }


@dataclass
class PendingAction:
    """A hook that holds an instance. Times: seconds on the emulator's clock."""

    hook: str
    default_result: Result
    timeout_s: float
    deadline: float
    last_deadline: float
    token: str = field(default_factory=lambda: str(uuid.uuid4()))
    result: Result | None = None

    def heartbeat(self, now: float) -> None:
        """Extend to a full timeout from now, never past the hook's global limit."""
        self.deadline = min(now + self.timeout_s, self.last_deadline)

    def settle(self, now: float) -> None:
        """Apply the default result once the deadline has passed."""
        if self.result is None and now >= self.deadline:
            self.result = self.default_result


@dataclass
class MemberRecord:
    """One instance of a group; times are seconds on the emulator's clock."""

    launched_at: float
    template: dict[str, Any] | None
    template_version: int
    activity: Activity | None = None
    in_service_at: float | None = None
    terminating_at: float | None = None
    leaving_activity: Activity | None = None
    actions: dict[str, PendingAction] = field(default_factory=dict)

    def settled(self, now: float) -> Result | None:
        """What the hooks decided together: None while one still holds.

        One ABANDON ends the wait at once.
        https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html
        """
        for action in self.actions.values():
            action.settle(now)
        results = [action.result for action in self.actions.values()]
        if "ABANDON" in results:
            return "ABANDON"
        return None if None in results else "CONTINUE"


@dataclass
class GroupRecord:
    """One group: its history, and when it may launch again after a failure."""

    activities: deque[Activity] = field(default_factory=lambda: deque(maxlen=KEPT_ACTIVITIES))
    why: str = ""
    failures: int = 0
    launch_after: float = 0.0
    deleting: bool = False

    def failed(self, now: float) -> None:
        """Wait 5 s after a failed launch, then twice as long each time, a minute at most."""
        self.failures += 1
        self.launch_after = now + min(60.0, 5.0 * 2 ** min(self.failures - 1, 4))

    def succeeded(self) -> None:
        """A launch worked: no waiting."""
        self.failures, self.launch_after = 0, 0.0


def record_of(group: Any) -> GroupRecord:
    """The record of a moto group, made on first use."""
    if not hasattr(group, "sgl"):
        group.sgl = GroupRecord()
    record: GroupRecord = group.sgl
    return record


def timestamp() -> str:
    """The time as causes of activities are written."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
