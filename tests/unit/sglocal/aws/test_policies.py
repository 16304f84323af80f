"""What PutScalingPolicy refuses."""

from __future__ import annotations

from typing import Any

import pytest
from moto.autoscaling.exceptions import ValidationError

from sglocal.aws.autoscaling.policies import check

STEP = {"PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity"}
TRACKING = {"PolicyType": "TargetTrackingScaling"}
METRIC = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}}


def steps(*bounds: tuple[float | None, float | None]) -> dict[str, Any]:
    found = []
    for lower, upper in bounds:
        step: dict[str, Any] = {"ScalingAdjustment": 1}
        if lower is not None:
            step["MetricIntervalLowerBound"] = lower
        if upper is not None:
            step["MetricIntervalUpperBound"] = upper
        found.append(step)
    return {**STEP, "StepAdjustments": found}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"PolicyType": "Other"}, "PolicyType"),
        ({"AdjustmentType": "Other", "ScalingAdjustment": 1}, "AdjustmentType"),
        ({"AdjustmentType": "ExactCapacity"}, "ScalingAdjustment"),
        (
            {
                "AdjustmentType": "ExactCapacity",
                "ScalingAdjustment": 1,
                "MinAdjustmentMagnitude": 2,
            },
            "MinAdjustmentMagnitude",
        ),
        (STEP, "At least one"),
        (steps((None, None)), "null"),
        (steps((0, 10), (20, None)), "gap"),
        (steps((0, 10), (5, None)), "overlap"),
        (steps((-10, 0)), "null lower bound"),
        (steps((0, 10)), "null upper bound"),
        (TRACKING, "TargetValue"),
        ({**TRACKING, "TargetTrackingConfiguration": {"TargetValue": 0, **METRIC}}, "greater"),
        ({**TRACKING, "TargetTrackingConfiguration": {"TargetValue": 5}}, "Exactly one"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        check(given)


@pytest.mark.parametrize(
    "given",
    [
        {"AdjustmentType": "ExactCapacity", "ScalingAdjustment": 1},
        steps((0, 10), (10, None)),
        steps((None, -10), (-10, 0)),
        {**TRACKING, "TargetTrackingConfiguration": {"TargetValue": 5, **METRIC}},
        {"PolicyType": "PredictiveScaling"},
    ],
)
def test_documented_policies_are_taken(given: dict[str, Any]) -> None:
    check(given)
