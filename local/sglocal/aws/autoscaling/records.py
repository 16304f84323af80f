"""What we remember of groups and members beyond moto's own fields."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.moto_api._internal import mock_random

from sglocal.aws.autoscaling.hooks import PendingAction, Result, outcome

# How many activities a group keeps (AWS keeps six weeks of them).
KEPT_ACTIVITIES = 400
# How many instance refreshes a group keeps, the newest first.
KEPT_REFRESHES = 100
# Seconds between two launches after a failed one: the first, and the longest.
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 60.0
# Seconds for which launches avoid a zone that just refused one.
ZONE_AVOIDED_S = 300.0


def new_id() -> str:
    """A UUID; moto's generator, so that a seeded run repeats."""
    return str(mock_random.uuid4())


@dataclass
class Activity:
    """One scaling activity.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html
    `origin`: where the instance was, if its description does not say; `announced`: its event is
    sent.
    """

    group: str
    description: str
    cause: str
    arn: str
    start_time: datetime
    activity_id: str = field(default_factory=new_id)
    end_time: datetime | None = None
    status: str = "InProgress"
    message: str = ""
    progress: int = 0
    details: dict[str, str] = field(default_factory=dict)
    origin: str = ""
    announced: bool = False

    def move(self, status: str, progress: int) -> None:
        """A stage on the way (PreInService, MidLifecycleAction …); nothing once it has ended."""
        if self.end_time is None:
            self.status, self.progress = status, progress

    def finish(self, now: datetime, status: str, message: str = "") -> None:
        """Successful, Failed or Cancelled; the first end counts."""
        if self.end_time is None:
            self.status, self.message, self.progress = status, message, 100
            self.end_time = now

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
            "Details": json.dumps(self.details),
        }


@dataclass
class MemberRecord:
    """One instance of a group; times are seconds on the emulator's clock.

    `entering`: the activity that brings it in; `leaving`: the one that takes it out.
    `unhealthy_by`: whose check found it unhealthy: `EC2`, `ELB`, `user` or empty.
    `balancing`: launched beyond the desired capacity, to even out the zones.
    `at_risk`: EC2 has sent it a rebalance recommendation.
    """

    launched_at: float
    template: dict[str, Any] | None
    template_version: int
    entering: Activity | None = None
    leaving: Activity | None = None
    in_service_at: float | None = None
    leaving_since: float | None = None
    actions: dict[str, PendingAction] = field(default_factory=dict)
    unhealthy_by: str = ""
    balancing: bool = False
    at_risk: bool = False

    def settled(self, now: float) -> Result | None:
        """What the hooks decided together: None while one still holds."""
        for action in self.actions.values():
            action.settle(now)
        return outcome(self.actions.values())


@dataclass
class GroupRecord:
    """One group: its warm pool's members, its history, and when it may launch again.

    `why`: the request that changed what is wanted; part of the causes of what follows.
    `cooldown_s`: of the simple policy that scaled last; `cools_until`: once it has begun.
    """

    activities: deque[Activity] = field(default_factory=lambda: deque(maxlen=KEPT_ACTIVITIES))
    warm: list[Any] = field(default_factory=list)
    why: str = ""
    failures: int = 0
    launch_after: float = 0.0
    avoided_zones: dict[str, float] = field(default_factory=dict)
    deleting: bool = False
    deleting_pool: bool = False
    blocked_at: int | None = None
    cooldown_s: float | None = None
    cools_until: float | None = None
    refreshes: deque[Any] = field(default_factory=lambda: deque(maxlen=KEPT_REFRESHES))

    @property
    def refresh(self) -> Any | None:
        """The instance refresh under way, or None."""
        newest = self.refreshes[0] if self.refreshes else None
        return newest if newest is not None and newest.active else None

    def failed(self, now: float, zone: str | None = None) -> None:
        """Wait after a failed launch, twice as long each time.

        `zone`: it had no capacity; the first time, another zone is tried without waiting.
        """
        if zone is not None:
            elsewhere = zone not in self.avoided(now)
            self.avoided_zones[zone] = now + ZONE_AVOIDED_S
            if elsewhere:
                return
        self.failures += 1
        delay = FIRST_RETRY_S * 2 ** min(self.failures - 1, 4)
        self.launch_after = now + min(LONGEST_RETRY_S, delay)

    def succeeded(self) -> None:
        """A launch worked: no waiting."""
        self.failures, self.launch_after = 0, 0.0

    def avoided(self, now: float) -> frozenset[str]:
        """Zones that refused a launch a short while ago."""
        return frozenset(zone for zone, until in self.avoided_zones.items() if until > now)


def record_of(group: Any) -> GroupRecord:
    """The record of a moto group, made on first use."""
    if not hasattr(group, "sgl"):
        group.sgl = GroupRecord()
    record: GroupRecord = group.sgl
    return record


def all_members(group: Any) -> list[Any]:
    """The group's instances and those of its warm pool (moto's InstanceState objects)."""
    return [*group.instance_states, *record_of(group).warm]


def find_member(group: Any, instance_id: str) -> Any | None:
    """One of them by instance id, or None."""
    return next((s for s in all_members(group) if s.instance.id == instance_id), None)


def suspended(group: Any, process: str) -> bool:
    """Whether the group's process (`Launch`, `Terminate` …) is suspended."""
    return any(p["ProcessName"] == process for p in group.suspended_processes)
