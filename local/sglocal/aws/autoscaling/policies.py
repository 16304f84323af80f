"""One scaling policy as it was put, and where moto keeps it.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html
moto knows one policy of a name in the whole account; names are unique in a group.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.autoscaling.exceptions import ValidationError

from sglocal.aws.autoscaling.policy_plan import CHANGE, EXACT, PERCENT, Adjustment
from sglocal.aws.autoscaling.records import new_id

SIMPLE, STEP, TRACKING = "SimpleScaling", "StepScaling", "TargetTrackingScaling"
ONLY_STORED = ("PredictiveScaling",)


@dataclass
class Policy:
    """`given`: the request. `alarms`: names of target tracking's own, the high one first."""

    group: str
    name: str
    given: Mapping[str, Any]
    arn: str
    alarms: list[str] = field(default_factory=list)

    @property
    def auto_scaling_group_name(self) -> str:
        """As moto's deletion of a group asks for it."""
        return self.group

    @property
    def kind(self) -> str:
        return str(self.given.get("PolicyType", SIMPLE))

    @property
    def enabled(self) -> bool:
        return bool(self.given.get("Enabled", True))

    @property
    def adjustments(self) -> list[Adjustment]:
        """The steps, or the one adjustment of a simple policy; none for target tracking."""
        kind = str(self.given.get("AdjustmentType", ""))
        at_least = int(self.given.get("MinAdjustmentMagnitude") or 0)
        if self.kind == SIMPLE:
            return [Adjustment(kind, int(self.given["ScalingAdjustment"]), at_least)]
        return [
            Adjustment(
                kind,
                int(step["ScalingAdjustment"]),
                at_least,
                _bound(step, "MetricIntervalLowerBound"),
                _bound(step, "MetricIntervalUpperBound"),
            )
            for step in self.given.get("StepAdjustments") or []
        ]

    @property
    def tracking(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.given.get("TargetTrackingConfiguration") or {}
        return found

    @property
    def scales_in(self) -> bool:
        """Whether target tracking may take instances out."""
        return not self.tracking.get("DisableScaleIn", False)

    def cooldown_s(self, group: Any) -> float:
        """Of a simple policy; the group's default without one of its own."""
        given = self.given.get("Cooldown")
        return float(group.default_cooldown if given is None else given)

    def warm_up_s(self, group: Any) -> float:
        """The policy's, else the group's DefaultInstanceWarmup, else its default cooldown."""
        own = self.given.get("EstimatedInstanceWarmup")
        default = getattr(group, "default_instance_warmup", None)
        found = own if own is not None else default
        return float(group.default_cooldown if found is None else found)

    def answer(self, alarms: list[dict[str, str]]) -> dict[str, Any]:
        """As the API returns it."""
        return {
            "StepAdjustments": [],
            **self.given,
            "PolicyARN": self.arn,
            "PolicyType": self.kind,
            "Alarms": alarms,
            "Enabled": self.enabled,
        }


def _bound(step: Mapping[str, Any], name: str) -> float | None:
    return None if step.get(name) is None else float(step[name])


def make(backend: Any, given: Mapping[str, Any]) -> Policy:
    """A new policy, or what an update makes of one, not stored yet; the ARN stays.

    Raises ValidationError for what contradicts itself.
    """
    check(given)
    group, name = str(given["AutoScalingGroupName"]), str(given["PolicyName"])
    before = find(backend, group, name)
    account, region = backend.account_id, backend.region_name
    arn = (
        before.arn
        if before is not None
        else (
            f"arn:aws:autoscaling:{region}:{account}:scalingPolicy:{new_id()}"
            f":autoScalingGroupName/{group}:policyName/{name}"
        )
    )
    return Policy(group, name, dict(given), arn)


def find(backend: Any, group: str | None, named: str) -> Policy | None:
    """By name within a group, or by ARN."""
    for policy in backend.policies.values():
        if named == policy.arn or (named == policy.name and group in (None, policy.group)):
            return policy  # type: ignore[no-any-return]
    return None


def check(given: Mapping[str, Any]) -> None:
    """Raise ValidationError for fields that do not go together."""
    kind = given.get("PolicyType", SIMPLE)
    if kind in ONLY_STORED:
        return
    if kind == TRACKING:
        _check_tracking(given.get("TargetTrackingConfiguration"))
        return
    if kind not in (SIMPLE, STEP):
        raise ValidationError(f"PolicyType {kind} is not valid.")
    if given.get("AdjustmentType") not in (CHANGE, EXACT, PERCENT):
        raise ValidationError(f"AdjustmentType {given.get('AdjustmentType')} is not valid.")
    if given.get("MinAdjustmentMagnitude") and given["AdjustmentType"] != PERCENT:
        raise ValidationError(
            f"MinAdjustmentMagnitude is not supported by the specified adjustment type: "
            f"{given['AdjustmentType']}"
        )
    if kind == SIMPLE and given.get("ScalingAdjustment") is None:
        raise ValidationError("You must specify a ScalingAdjustment for policy type: SimpleScaling")
    if kind == STEP:
        _check_steps(given.get("StepAdjustments") or [])


def _check_steps(steps: list[Mapping[str, Any]]) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html#as-scaling-steps"""
    if not steps:
        raise ValidationError("At least one StepAdjustment must be specified.")
    bounds = [
        (_bound(s, "MetricIntervalLowerBound"), _bound(s, "MetricIntervalUpperBound"))
        for s in steps
    ]
    if (None, None) in bounds:
        raise ValidationError("The upper and lower bound can't be null in the same step.")
    ordered = sorted(bounds, key=lambda b: float("-inf") if b[0] is None else b[0])
    for (_, upper), (lower, _) in itertools.pairwise(ordered):
        if upper is None or lower is None or upper != lower:
            raise ValidationError("StepAdjustment intervals can't overlap or have a gap.")
    if ordered[0][0] is not None and ordered[0][0] < 0:
        raise ValidationError("There must be a StepAdjustment with a null lower bound.")
    if ordered[-1][1] is not None and ordered[-1][1] > 0:
        raise ValidationError("There must be a StepAdjustment with a null upper bound.")


def _check_tracking(given: Mapping[str, Any] | None) -> None:
    if not given or given.get("TargetValue") is None:
        raise ValidationError("TargetTrackingConfiguration with a TargetValue must be specified.")
    if float(given["TargetValue"]) <= 0:
        raise ValidationError("TargetValue must be greater than 0.")
    metrics = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")
    if sum(bool(given.get(name)) for name in metrics) != 1:
        raise ValidationError(
            "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification "
            "must be specified."
        )
