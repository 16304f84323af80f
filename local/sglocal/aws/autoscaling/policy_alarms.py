"""Alarms and policies: those that target tracking makes for itself, and whose action one is.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html (names)
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PredefinedMetricSpecification.html
AWS documents no numbers; these are those of alarms seen in accounts: above the target for three
periods, below nine tenths of it for fifteen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.cloudwatch.models import Dimension, Metric, MetricDataQuery, MetricStat

from sglocal.aws.autoscaling.policies import Policy
from sglocal.aws.autoscaling.records import new_id
from sglocal.aws.emulator import Emulator

HIGH_PERIODS, LOW_PERIODS, LOW_SHARE = 3, 15, 0.9
PERIOD_S = 60
_OF_THE_GROUP = {
    "ASGAverageCPUUtilization": "CPUUtilization",
    "ASGAverageNetworkIn": "NetworkIn",
    "ASGAverageNetworkOut": "NetworkOut",
}


def replace(emulator: Emulator, policy: Policy, before: list[str]) -> None:
    """Make the alarms of a policy in place of those it had.

    Raises ValidationError, before anything is changed, for a metric that is not complete.
    """
    try:
        metric = _metric(policy)
    except KeyError as error:
        raise ValidationError(f"The metric of {policy.name} lacks {error.args[0]}.") from None
    cloudwatch = emulator.backend("cloudwatch")
    cloudwatch.delete_alarms(before)
    target = float(policy.tracking["TargetValue"])
    conditions = {
        "AlarmHigh": ("GreaterThanThreshold", target, HIGH_PERIODS),
        "AlarmLow": ("LessThanThreshold", target * LOW_SHARE, LOW_PERIODS),
    }
    for kind, (comparison, threshold, periods) in conditions.items():
        name = f"TargetTracking-{policy.group}-{kind}-{new_id()}"
        description = f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy.arn}."
        cloudwatch.put_metric_alarm(
            name=name,
            comparison_operator=comparison,
            evaluation_periods=periods,
            threshold=threshold,
            description=description,
            alarm_actions=[policy.arn],
            **metric,
        )
        policy.alarms.append(name)


def naming(emulator: Emulator, policy: Policy) -> list[str]:
    """The alarms that have the policy among their actions."""
    alarms = emulator.backend("cloudwatch").alarms.values()
    return [str(alarm.name) for alarm in alarms if policy.arn in _actions(alarm)]


def delete_policy(emulator: Emulator, policy: Policy) -> None:
    """Forget a policy, its own alarms, and the actions of others that name it."""
    cloudwatch = emulator.backend("cloudwatch")
    cloudwatch.delete_alarms(policy.alarms)
    for name in naming(emulator, policy):
        alarm = cloudwatch.alarms[name]
        for actions in (alarm.alarm_actions, alarm.ok_actions, alarm.insufficient_data_actions):
            actions[:] = [action for action in actions if action != policy.arn]
    emulator.autoscaling.policies.pop(policy.arn, None)


def _actions(alarm: Any) -> list[str]:
    return [*alarm.alarm_actions, *alarm.ok_actions, *alarm.insufficient_data_actions]


def _metric(policy: Policy) -> dict[str, Any]:
    """The metric's part of PutMetricAlarm. Raises ValidationError for an unknown one."""
    predefined = policy.tracking.get("PredefinedMetricSpecification")
    if predefined:
        return _predefined(policy, predefined)
    given = policy.tracking["CustomizedMetricSpecification"]
    if given.get("Metrics"):
        queries = [_query(one) for one in given["Metrics"]]
        return {**_one("", "", [], "", PERIOD_S), "metric_data_queries": queries}
    return _one(
        given["Namespace"],
        given["MetricName"],
        given.get("Dimensions") or [],
        given["Statistic"],
        int(given.get("Period") or PERIOD_S),
    )


def _predefined(policy: Policy, given: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(given.get("PredefinedMetricType"))
    if kind in _OF_THE_GROUP:
        dimensions = [{"Name": "AutoScalingGroupName", "Value": policy.group}]
        return _one("AWS/EC2", _OF_THE_GROUP[kind], dimensions, "Average", PERIOD_S)
    label = str(given.get("ResourceLabel") or "")
    if kind != "ALBRequestCountPerTarget" or "/targetgroup/" not in label:
        raise ValidationError(f"PredefinedMetricSpecification {dict(given)} is not valid.")
    target_group = "targetgroup/" + label.partition("/targetgroup/")[2]
    dimensions = [{"Name": "TargetGroup", "Value": target_group}]
    return _one("AWS/ApplicationELB", "RequestCountPerTarget", dimensions, "Sum", PERIOD_S)


def _one(
    namespace: str, name: str, dimensions: list[dict[str, str]], statistic: str, period: int
) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "metric_name": name,
        "dimensions": dimensions,
        "statistic": statistic,
        "period": period,
    }


def _query(given: Mapping[str, Any]) -> MetricDataQuery:
    stat = given.get("MetricStat")
    period = str((stat or {}).get("Period") or given.get("Period") or PERIOD_S)
    found = None
    if stat:
        metric = stat["Metric"]
        dimensions = [Dimension(d["Name"], d["Value"]) for d in metric.get("Dimensions") or []]
        found = MetricStat(
            Metric(metric["MetricName"], metric["Namespace"], dimensions),
            period,
            stat["Stat"],
            stat.get("Unit", ""),
        )
    returned = str(given.get("ReturnData", True)).lower()
    return MetricDataQuery(
        given["Id"], given.get("Label", ""), period, returned, given.get("Expression"), found
    )
