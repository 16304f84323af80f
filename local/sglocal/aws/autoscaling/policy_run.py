"""Carries out scaling policies: an alarm's or by hand. Hold the emulator's lock.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scaling-cooldowns.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scale-based-on-demand.html#multiple-scaling-policy-resolution
"""

from __future__ import annotations

import logging
from typing import Any

from sglocal.aws.alarm_state import ALARM
from sglocal.aws.autoscaling import causes, policy_plan
from sglocal.aws.autoscaling.lifecycle import LAUNCHING, LEAVING, State
from sglocal.aws.autoscaling.policies import SIMPLE, STEP, TRACKING, Policy, find
from sglocal.aws.autoscaling.policy_plan import Sizes
from sglocal.aws.autoscaling.records import record_of, suspended
from sglocal.aws.emulator import Emulator

log = logging.getLogger(__name__)


def act(emulator: Emulator, action: str, alarm: Any, value: float | None) -> None:
    """One action of an alarm; what is no policy of a group here is passed over."""
    policy = find(emulator.autoscaling, None, action)
    if policy is None or not policy.enabled:
        return
    group = emulator.autoscaling.autoscaling_groups.get(policy.group)
    if group is None or record_of(group).deleting or suspended(group, "AlarmNotification"):
        return
    wanted = _by_alarm(emulator, group, policy, alarm, value)
    cause = causes.triggered(
        emulator.clock.now(), alarm.name, alarm.state_value, policy.name, _desired(group), wanted
    )
    set_desired(emulator, group, wanted, cause)


def set_desired(emulator: Emulator, group: Any, wanted: int, cause: str) -> None:
    """Change the desired capacity, if it does change, and say why."""
    if wanted == _desired(group):
        return
    log.info("group %s: %s", group.name, cause)
    record_of(group).why = cause
    group.set_desired_capacity(wanted)


def _by_alarm(
    emulator: Emulator, group: Any, policy: Policy, alarm: Any, value: float | None
) -> int:
    if policy.kind == SIMPLE:
        if cooling(emulator, group):
            return _desired(group)
        return run_simple(emulator, group, policy)
    if value is None or policy.kind not in (STEP, TRACKING):
        return _desired(group)
    if policy.kind == STEP:
        wanted = run_step(emulator, group, policy, value - float(alarm.threshold))
        if wanted is None:
            log.warning("policy %s has no step for %g", policy.name, value)
        return _desired(group) if wanted is None else wanted
    return _track(emulator, group, policy, alarm, value)


def run_simple(emulator: Emulator, group: Any, policy: Policy) -> int:
    """The desired capacity that follows; its cooldown begins if that is a change."""
    wanted = policy_plan.simple(policy.adjustments[0], sizes(emulator, group, 0.0))
    if wanted != _desired(group):
        record_of(group).cooldown_s = policy.cooldown_s(group)
        record_of(group).cools_until = None
    return wanted


def run_step(emulator: Emulator, group: Any, policy: Policy, breach: float) -> int | None:
    """The desired capacity that follows; None without a step for the breach."""
    step = policy_plan.step_of(policy.adjustments, breach)
    if step is None:
        return None
    return policy_plan.stepped(step, sizes(emulator, group, policy.warm_up_s(group)))


def _track(emulator: Emulator, group: Any, policy: Policy, alarm: Any, value: float) -> int:
    target = float(policy.tracking["TargetValue"])
    if alarm.name == policy.alarms[0]:
        return policy_plan.tracked_out(value, target, _sizes_for(emulator, group, policy))
    if not policy.scales_in:
        return _desired(group)
    return _tracked_in_by_all(emulator, group)


def _tracked_in_by_all(emulator: Emulator, group: Any) -> int:
    """Scale-in waits until every policy that may take instances out is ready; the least counts."""
    alarms = emulator.backend("cloudwatch").alarms
    wanted = []
    for policy in emulator.autoscaling.policies.values():
        if policy.group != group.name or policy.kind != TRACKING or not policy.scales_in:
            continue
        low = alarms.get(policy.alarms[1])
        if low is None or low.state_value != ALARM or low.sgl_newest is None:
            return _desired(group)
        target = float(policy.tracking["TargetValue"])
        at = _sizes_for(emulator, group, policy)
        wanted.append(policy_plan.tracked_in(low.sgl_newest, target, at))
    return max(wanted, default=_desired(group))


def _sizes_for(emulator: Emulator, group: Any, policy: Policy) -> Sizes:
    return sizes(emulator, group, policy.warm_up_s(group))


def sizes(emulator: Emulator, group: Any, warm_up_s: float) -> Sizes:
    """The group as policies count it."""
    now, desired = emulator.clock(), _desired(group)
    states = group.instance_states
    serving = warming = 0
    for state in states:
        since = state.sgl.in_service_at
        if state.lifecycle_state == State.IN_SERVICE and since is not None:
            warm = now - since >= warm_up_s
            serving, warming = serving + warm, warming + (not warm)
        elif state.lifecycle_state in LAUNCHING:
            warming += 1
    missing = max(0, desired - serving - warming)
    return Sizes(
        desired=desired,
        minimum=int(group.min_size),
        maximum=int(group.max_size),
        serving=serving,
        warming=warming + missing,
        leaving=sum(state.lifecycle_state in LEAVING for state in states),
    )


def cooling(emulator: Emulator, group: Any) -> bool:
    """Whether simple policies wait: for what is under way, then for the cooldown to pass.

    The cooldown begins when the last instance is in service, or gone.
    """
    record, now = record_of(group), emulator.clock()
    at = sizes(emulator, group, 0.0)
    if at.warming or at.leaving or at.serving > at.desired:
        return True
    if record.cooldown_s is None:
        return False
    if record.cools_until is None:
        record.cools_until = now + record.cooldown_s
    if now < record.cools_until:
        return True
    record.cooldown_s = record.cools_until = None
    return False


def _desired(group: Any) -> int:
    return int(group.desired_capacity or 0)
