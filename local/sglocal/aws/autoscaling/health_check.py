"""Finding members that are unhealthy: EC2's state, the load balancer's view, a user's word.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-health-checks.html
The grace period begins when the instance is in service and covers the load balancer's checks;
an instance that is not running is unhealthy at once. The warm pool has no grace period:
https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pools-health-checks-monitor-view-status.html
"""

from __future__ import annotations

from typing import Any

from sglocal.aws.autoscaling import causes
from sglocal.aws.autoscaling.leaving import retire
from sglocal.aws.autoscaling.lifecycle import State
from sglocal.aws.autoscaling.records import suspended
from sglocal.aws.emulator import Emulator

_EXPECTED = {State.WARMED_STOPPED: ("stopped",), State.WARMED_RUNNING: ("running",)}


def check(emulator: Emulator, group: Any, state: Any) -> None:
    """Mark a member in service; standby is never checked. Ended ones leave at once."""
    if state.lifecycle_state != State.IN_SERVICE or suspended(group, "HealthCheck"):
        return
    if state.instance.state != "running":
        mark(state, "EC2")
    elif state.health_status == "Healthy" and _target_unhealthy(emulator, group, state):
        mark(state, "ELB")
    _leave_if_ended(emulator, group, state)


def check_warm(emulator: Emulator, group: Any, state: Any) -> None:
    """Mark a warm instance that is not in the state in which the pool keeps it."""
    if suspended(group, "HealthCheck"):
        return
    expected = _EXPECTED.get(State(state.lifecycle_state), ("stopped", "running"))
    if state.instance.state not in (*expected, "stopping", "pending"):
        mark(state, "EC2")
    _leave_if_ended(emulator, group, state)


def mark(state: Any, by: str) -> None:
    """Unhealthy, found by `EC2`, `ELB` or `user`; the first finding names the cause."""
    state.health_status = "Unhealthy"
    state.sgl.unhealthy_by = state.sgl.unhealthy_by or by


def in_grace(emulator: Emulator, group: Any, state: Any) -> bool:
    """Whether the health check grace period of a member still runs."""
    since = state.sgl.in_service_at
    return since is None or emulator.clock() - since < float(group.health_check_grace_period or 0)


def _leave_if_ended(emulator: Emulator, group: Any, state: Any) -> None:
    """An instance that is gone is no capacity, even where nothing may be replaced."""
    if state.instance.state == "terminated":
        cause = causes.unhealthy(emulator.clock.now(), "EC2")
        retire(emulator, group, state, cause, skip_hooks=False)


def _target_unhealthy(emulator: Emulator, group: Any, state: Any) -> bool:
    if "ELB" not in (group.health_check_type or "") or in_grace(emulator, group, state):
        return False
    for arn in group.target_group_arns:
        target_group = emulator.elbv2.target_groups.get(arn)
        target = target_group.targets.get(state.instance.id) if target_group else None
        if target and target_group.health_for(target, emulator.ec2).status == "unhealthy":
            return True
    return False
