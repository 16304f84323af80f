"""One instance refresh: what was asked for, how far it is, and how it ended.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_InstanceRefresh.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.autoscaling.exceptions import ValidationError

from sglocal.aws.autoscaling.configuration import Configuration
from sglocal.aws.autoscaling.records import new_id
from sglocal.aws.autoscaling.refresh_plan import Decision, Preferences

ROLLING_BACK = "RollbackInProgress"
ACTIVE = ("Pending", "InProgress", "Cancelling", ROLLING_BACK, "Baking")
LONGEST_DELAY_S = 172_800
_CHOICES = {
    "ScaleInProtectedInstances": ("Refresh", "Ignore", "Wait"),
    "StandbyInstances": ("Terminate", "Ignore", "Wait"),
}


@dataclass
class Refresh:
    """The state of a refresh; times are seconds on the emulator's clock unless a datetime.

    `known`: instances that existed when it (or its rollback) began, `outdated`: those of them to
    replace; `total`, `warm_total`: how many there were of these in the group and in its warm pool,
    `back_total`: how many a rollback replaces.
    `told`: statuses and checkpoints whose events are sent.
    `moved_at`: when something last went on; `paused_until`: the end of a checkpoint's delay.
    """

    group: str
    preferences: Preferences
    given: Mapping[str, Any]
    desired: Configuration | None
    desired_given: Mapping[str, Any] | None
    before: Configuration
    started_at: datetime
    moved_at: float
    refresh_id: str = field(default_factory=new_id)
    began_at: float = 0.0
    status: str = "Pending"
    reason: str = ""
    ended_at: datetime | None = None
    known: frozenset[str] = frozenset()
    outdated: frozenset[str] = frozenset()
    total: int = 0
    warm_total: int | None = None
    back_total: int = 0
    surge: int = 0
    progress: tuple[int, ...] = ()
    percent: int = 0
    left: int = 0
    warm_left: int = 0
    passed: int = 0
    paused_until: float | None = None
    bakes_until: float | None = None
    wait_for_instances: bool = True
    rollback: dict[str, Any] | None = None
    told: set[str] = field(default_factory=set)

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def rolling_back(self) -> bool:
        return self.status == ROLLING_BACK

    def brings(self) -> Configuration | None:
        """The configuration that launches follow because of it."""
        if not self.active or self.rollback is not None:
            return None
        return self.desired

    def checkpoint(self) -> int:
        """The per cent of the group to replace before the next pause."""
        steps = () if self.rollback is not None else self.preferences.checkpoints
        return steps[self.passed] if self.passed < len(steps) else (steps or (100,))[-1]

    @property
    def last_stage(self) -> bool:
        """Whether no further pause follows."""
        return self.rollback is not None or self.passed >= len(self.preferences.checkpoints) - 1

    @property
    def ends_early(self) -> bool:
        """Whether the last checkpoint, below 100 per cent, is the one to reach now."""
        return self.last_stage and self.checkpoint() < 100

    def measure(self, decision: Decision) -> None:
        """Percentages as described; during a rollback they go back to zero."""
        if self.rollback is not None:
            at_start = int(self.rollback["PercentageCompleteOnRollback"])
            ahead = min(self.back_total, decision.left + decision.warm_left)
            self.percent = at_start * ahead // self.back_total if self.back_total else 0
            return
        replaced = min(self.total - decision.left, decision.replaced)
        self.left, self.warm_left = max(0, self.total - replaced), decision.warm_left
        whole = self.total + (self.warm_total or 0)
        left = min(whole, self.left + self.warm_left)
        self.percent = 100 * (whole - left) // whole if whole else 100

    def finish(self, now: datetime, status: str, reason: str = "") -> None:
        """Successful, Failed, Cancelled, RollbackSuccessful or RollbackFailed."""
        self.status, self.reason, self.ended_at, self.surge = status, reason, now, 0

    def answer(self) -> dict[str, Any]:
        """As the API returns it."""
        return {
            "InstanceRefreshId": self.refresh_id,
            "AutoScalingGroupName": self.group,
            "Status": self.status,
            "StatusReason": self.reason or None,
            "StartTime": self.started_at,
            "EndTime": self.ended_at,
            "PercentageComplete": self.percent,
            "InstancesToUpdate": self.left + self.warm_left,
            "ProgressDetails": self._details(),
            "Preferences": dict(self.given),
            "DesiredConfiguration": self.desired_given,
            "RollbackDetails": self.rollback,
            "Strategy": "Rolling",
        }

    def _details(self) -> dict[str, Any] | None:
        """Apart for the group and its warm pool; absent without a pool."""
        if self.warm_total is None:
            return None
        return {
            "LivePoolProgress": _progress(self.total, self.left),
            "WarmPoolProgress": _progress(self.warm_total, self.warm_left),
        }

    def begin_rollback(self, now: datetime, clock: float, reason: str) -> None:
        """From here on the group's own settings are wanted again."""
        self.rollback = {
            "RollbackReason": reason,
            "RollbackStartTime": now,
            "PercentageCompleteOnRollback": self.percent,
            "InstancesToUpdateOnRollback": self.left + self.warm_left,
            "ProgressDetailsOnRollback": self._details(),
        }
        self.status, self.reason, self.moved_at = ROLLING_BACK, reason, clock
        self.paused_until, self.progress = None, ()


def _progress(total: int, left: int) -> dict[str, int]:
    percent = 100 if total == 0 else 100 * (total - left) // total
    return {"PercentageComplete": percent, "InstancesToUpdate": left}


def parse_preferences(group: Any, given: Mapping[str, Any]) -> Preferences:
    """RefreshPreferences. Raises ValidationError for what contradicts itself."""
    minimum, maximum = _bounds(group, given)
    checkpoints = tuple(int(p) for p in given.get("CheckpointPercentages") or ())
    if list(checkpoints) != sorted(set(checkpoints)) or any(not 1 <= p <= 100 for p in checkpoints):
        raise ValidationError("CheckpointPercentages must be unique, ascending and from 1 to 100.")
    if "CheckpointDelay" in given and not checkpoints:
        raise ValidationError("CheckpointDelay needs CheckpointPercentages.")
    for name, choices in _CHOICES.items():
        if given.get(name, "Wait") not in choices:
            raise ValidationError(f"{name} must be one of {', '.join(choices)}.")
    for name in ("CheckpointDelay", "BakeTime"):
        if not 0 <= int(given.get(name, 0)) <= LONGEST_DELAY_S:
            raise ValidationError(f"{name} must be from 0 to {LONGEST_DELAY_S}.")
    alarms = (given.get("AlarmSpecification") or {}).get("Alarms") or []
    return Preferences(
        minimum,
        maximum,
        _warm_up_s(group, given),
        checkpoints,
        float(given.get("CheckpointDelay", 3600)),
        _true(given.get("SkipMatching")),
        _true(given.get("AutoRollback")),
        given.get("ScaleInProtectedInstances", "Wait"),
        given.get("StandbyInstances", "Wait"),
        tuple(alarms),
        float(given.get("BakeTime", 0)),
    )


def _bounds(group: Any, given: Mapping[str, Any]) -> tuple[int, int | None]:
    """The percentages given, else those of the maintenance policy, else 90 and none."""
    minimum, maximum = given.get("MinHealthyPercentage"), given.get("MaxHealthyPercentage")
    if maximum is not None and minimum is None:
        raise ValidationError("MaxHealthyPercentage needs MinHealthyPercentage.")
    policy = getattr(group, "instance_maintenance_policy", None) or {}
    if minimum is None and int(policy.get("MinHealthyPercentage", -1)) >= 0:
        minimum, maximum = policy["MinHealthyPercentage"], policy["MaxHealthyPercentage"]
    low, high = int(90 if minimum is None else minimum), None if maximum is None else int(maximum)
    if not 0 <= low <= 100 or (high is not None and not 100 <= high <= 200):
        raise ValidationError(
            "MinHealthyPercentage must be from 0 to 100, MaxHealthyPercentage from 100 to 200."
        )
    if high is not None and high - low > 100:
        raise ValidationError(
            "MinHealthyPercentage and MaxHealthyPercentage must not differ by more than 100."
        )
    return low, high


def _warm_up_s(group: Any, given: Mapping[str, Any]) -> float:
    """InstanceWarmup, else the group's default, else its health check grace period."""
    for value in (given.get("InstanceWarmup"), getattr(group, "default_instance_warmup", None)):
        if value is not None and int(value) >= 0:
            return float(value)
    return float(group.health_check_grace_period or 0)


def _true(value: Any) -> bool:
    return str(value).lower() == "true"
