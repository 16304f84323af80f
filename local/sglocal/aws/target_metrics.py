"""HealthyHostCount and UnHealthyHostCount of the target groups that a load balancer serves.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
Every minute, as on AWS; the alarm of an environment without a healthy router rests on it.
"""

from __future__ import annotations

from typing import Any

from sglocal.aws.emulator import Emulator

REPORT_S = 60.0
NAMESPACE = "AWS/ApplicationELB"
COUNTED = {"HealthyHostCount": "healthy", "UnHealthyHostCount": "unhealthy"}


def install(emulator: Emulator) -> None:
    """Report once for each minute of the emulator's clock."""
    reported: list[int] = []

    def report() -> None:
        minute = int(emulator.clock.now().timestamp() // REPORT_S)
        if reported != [minute]:
            reported[:] = [minute]
            with emulator.lock:
                emulator.backend("cloudwatch").put_metric_data(NAMESPACE, metrics(emulator))

    emulator.every("target-metrics", 1.0, report)


def metrics(emulator: Emulator) -> list[dict[str, Any]]:
    """What PutMetricData would be given; groups without targets are not reported, as on AWS."""
    found = []
    for group in emulator.elbv2.target_groups.values():
        states = [group.health_for(t, emulator.ec2).status for t in group.targets.values()]
        if not states:
            continue
        for arn in sorted(set(group.load_balancer_arns)):
            dimensions = [
                {"Name": "LoadBalancer", "Value": arn.partition(":loadbalancer/")[2]},
                {"Name": "TargetGroup", "Value": group.arn.rpartition(":")[2]},
            ]
            found += [
                {"MetricName": name, "Value": states.count(state), "Dimensions": dimensions}
                for name, state in COUNTED.items()
            ]
    return found
