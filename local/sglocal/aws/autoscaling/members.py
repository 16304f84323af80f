"""Launching and retiring single instances of a group."""

from __future__ import annotations

import logging
from typing import Any

from moto.autoscaling.models import ASG_NAME_TAG, InstanceState
from moto.core.exceptions import ServiceException

from sglocal.aws.autoscaling.plan import Launch
from sglocal.aws.autoscaling.records import (
    Activity,
    MemberRecord,
    PendingAction,
    record_of,
    timestamp,
)
from sglocal.aws.emulator import Emulator

log = logging.getLogger(__name__)

LAUNCH_TRANSITION = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATE_TRANSITION = "autoscaling:EC2_INSTANCE_TERMINATING"


def launch(emulator: Emulator, group: Any, step: Launch) -> None:
    """Run one instance; a refusal is recorded as a failed activity and retried later."""
    record = record_of(group)
    size = len(group.instance_states)
    cause = (
        f"{record.why}  At {timestamp()} an instance was started in response to a difference "
        f"between desired and actual capacity, increasing the capacity from {size} to {size + 1}."
    ).strip()
    activity = Activity(group.name, "Launching a new EC2 instance", cause, group.arn)
    record.activities.appendleft(activity)
    try:
        instance, template, number = _run(emulator, group, step)
    except ServiceException as error:
        message = f"{getattr(error, 'message', error)}. Launching EC2 instance failed."
        log.error("group %s: %s", group.name, message)
        activity.finish("Failed", message)
        record.failed(emulator.clock())
        return
    activity.description = f"Launching a new EC2 instance: {instance.id}"
    instance.autoscaling_group = group
    protected = bool(group.new_instances_protected_from_scale_in)
    state: Any = InstanceState(instance, "Pending", protected_from_scale_in=protected)
    state.sgl = MemberRecord(emulator.clock(), template, number, activity)
    state.sgl.actions = _actions(emulator, group, LAUNCH_TRANSITION)
    if state.sgl.actions:
        state.lifecycle_state = "Pending:Wait"
    group.instance_states.append(state)


def _run(emulator: Emulator, group: Any, step: Launch) -> tuple[Any, dict[str, Any] | None, int]:
    ec2 = emulator.ec2
    tags = dict(group.instance_tags)
    tags.update({t["Key"]: t["Value"] for t in group.tags if t.get("PropagateAtLaunch")})
    tags[ASG_NAME_TAG] = group.name
    kwargs: dict[str, Any] = {
        "tags": {"instance": tags},
        "subnet_id": step.place.subnet_id,
        "placement": step.place.zone,
        "is_instance_type_default": False,
        "instance_type": _instance_type(group),
        "associate_public_ip": None,
    }
    template, number = None, 0
    if group.ec2_launch_template is not None:
        version = group.ec2_launch_template.get_version(group.launch_template_version)
        number = version.number
        template = {
            "LaunchTemplateId": group.ec2_launch_template.id,
            "LaunchTemplateName": group.ec2_launch_template.name,
            "Version": str(number),
        }
        kwargs["launch_template"] = {
            "LaunchTemplateId": group.ec2_launch_template.id,
            "Version": str(number),
        }
    else:
        kwargs["launch_config"] = group.launch_config
    if step.spot:
        kwargs["instance_market_options"] = "spot"
    reservation = ec2.run_instances(
        group.image_id, 1, group.user_data, list(group.security_groups), **kwargs
    )
    instance = reservation.instances[0]
    if step.spot:
        instance.lifecycle = "spot"
    return instance, template, number


def _instance_type(group: Any) -> str:
    """The first override of a mixed-instances policy, else the template's type."""
    policy = group.mixed_instances_policy or {}
    overrides = policy.get("LaunchTemplate", {}).get("Overrides") or []
    for override in overrides:
        if override.get("InstanceType"):
            return str(override["InstanceType"])
    return str(group.instance_type)


def hooks(emulator: Emulator, group: Any, transition: str) -> list[Any]:
    """The group's hooks for a transition."""
    return [
        hook
        for hook in emulator.autoscaling.describe_lifecycle_hooks(group.name)
        if hook.lifecycle_transition == transition
    ]


def _actions(emulator: Emulator, group: Any, transition: str) -> dict[str, PendingAction]:
    now = emulator.clock()
    return {
        hook.name: PendingAction(
            hook.name,
            hook.default_result,
            float(hook.heartbeat_timeout),
            deadline=now + float(hook.heartbeat_timeout),
            last_deadline=now + float(hook.global_timeout),
        )
        for hook in hooks(emulator, group, transition)
    }


def retire(emulator: Emulator, group: Any, state: Any, reason: str, *, skip_hooks: bool) -> None:
    """Begin to take an instance out: out of its target groups, then its terminate hooks hold it."""
    record: MemberRecord = state.sgl
    if state.lifecycle_state.startswith("Terminating"):
        if skip_hooks:
            record.actions = {}
        return
    cause = f"At {timestamp()} {reason}"
    activity = Activity(
        group.name, f"Terminating EC2 instance: {state.instance.id}", cause, group.arn
    )
    record_of(group).activities.appendleft(activity)
    if record.activity is not None:
        record.activity.finish("Cancelled", "The instance is terminated before it was in service.")
    record.leaving_activity = activity
    record.terminating_at = emulator.clock()
    served = state.lifecycle_state in ("InService", "Standby")
    deregister(emulator, group, state.instance.id)
    # Hooks for terminating also hold instances whose launch was abandoned.
    record.actions = {} if skip_hooks else _actions(emulator, group, TERMINATE_TRANSITION)
    state.lifecycle_state = "Terminating:Wait" if record.actions else "Terminating"
    log.info("group %s: %s leaves (served: %s): %s", group.name, state.instance.id, served, reason)


def register(emulator: Emulator, group: Any, instance: Any) -> None:
    """Put an instance that serves now into the group's target groups."""
    for arn in group.target_group_arns:
        target_group = emulator.elbv2.target_groups.get(arn)
        if target_group is not None:
            target_group.register([{"Id": instance.id, "Port": target_group.port}])


def deregister(emulator: Emulator, group: Any, instance_id: str) -> None:
    """Take an instance out of the group's target groups; streams it has may finish."""
    for arn in group.target_group_arns:
        target_group = emulator.elbv2.target_groups.get(arn)
        if target_group is not None and instance_id in target_group.targets:
            target_group.deregister([{"Id": instance_id}])


def drain_delay_s(emulator: Emulator, group: Any) -> float:
    """The longest deregistration delay of the group's target groups, in seconds."""
    delays = [0.0]
    for arn in group.target_group_arns:
        target_group = emulator.elbv2.target_groups.get(arn)
        if target_group is not None:
            delays.append(float(target_group.attributes["deregistration_delay.timeout_seconds"]))
    return max(delays)
