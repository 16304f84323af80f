"""Bringing instances in: into the group, into the warm pool, and from there into the group."""

from __future__ import annotations

import logging
from typing import Any

from moto.autoscaling.models import ASG_NAME_TAG, InstanceState
from moto.core.exceptions import ServiceException

from sglocal.aws.autoscaling import causes, configuration
from sglocal.aws.autoscaling.leaving import retire
from sglocal.aws.autoscaling.lifecycle import ACTIVE, Event, State, after
from sglocal.aws.autoscaling.plan import Launch, WarmLaunch
from sglocal.aws.autoscaling.records import Activity, MemberRecord, record_of
from sglocal.aws.autoscaling.transitions import LAUNCH_TRANSITION, pending_actions
from sglocal.aws.autoscaling.view import Place
from sglocal.aws.emulator import Emulator

log = logging.getLogger(__name__)

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
NO_CAPACITY = (
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientFreeAddressesInSubnet",
)


def launch(emulator: Emulator, group: Any, step: Launch) -> None:
    """Run one instance in the group; a refusal is a failed activity and retried later."""
    now, record = emulator.clock.now(), record_of(group)
    size = sum(s.lifecycle_state in ACTIVE for s in group.instance_states)
    why = causes.balanced(now, step.place.zone) if step.balancing else causes.started(now, size)
    activity = _begin(emulator, group, "Launching a new EC2 instance", why, step.place)
    made = _run_any_type(emulator, group, step.place, spot=step.spot, activity=activity)
    if made is None:
        return
    state = _join(emulator, group, made, activity)
    state.sgl.balancing = step.balancing
    _enter(emulator, group, state, State.PENDING)
    group.instance_states.append(state)
    log.info("group %s: launches %s", group.name, made.instance.id)
    record.blocked_at = None


def launch_warm(emulator: Emulator, group: Any, step: WarmLaunch) -> None:
    """Run one instance in the warm pool."""
    record = record_of(group)
    why = causes.started_warm(emulator.clock.now(), len(record.warm))
    what = "Launching a new EC2 instance into warm pool"
    activity = _begin(emulator, group, what, why, step.place)
    made = _run_any_type(emulator, group, step.place, spot=False, activity=activity)
    if made is None:
        return
    state = _join(emulator, group, made, activity)
    _enter(emulator, group, state, State.WARMED_PENDING)
    record.warm.append(state)
    log.info("group %s: launches %s into the warm pool", group.name, made.instance.id)


def take_from_pool(emulator: Emulator, group: Any, state: Any) -> None:
    """Start a warm instance in the group; one that cannot start is a failed launch and terminated.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-warm-pools.html#warm-pools-limitations
    """
    now, record, instance = emulator.clock.now(), record_of(group), state.instance
    size = sum(s.lifecycle_state in ACTIVE for s in group.instance_states)
    what = "Launching a new EC2 instance from warm pool"
    place = Place(str(state.availability_zone), instance.subnet_id)
    activity = _begin(emulator, group, what, causes.started(now, size), place)
    activity.description += f": {instance.id}"
    if instance.state != "running":
        try:
            emulator.ec2.start_instances([instance.id])
        except ServiceException as error:
            _refused(emulator, group, place, activity, error)
            cause = causes.abandoned(now, instance.id)
            retire(emulator, group, state, cause, skip_hooks=True)
            return
    record.warm.remove(state)
    state.sgl.entering, state.sgl.in_service_at = activity, None
    state.sgl.leaving_since = None
    state.protected_from_scale_in = bool(group.new_instances_protected_from_scale_in)
    _enter(emulator, group, state, after(state.lifecycle_state, Event.FROM_POOL))
    group.instance_states.append(state)
    log.info("group %s: takes %s from the warm pool", group.name, instance.id)


class _Made:
    """An instance just run, with the template version it came from."""

    def __init__(self, instance: Any, template: dict[str, Any] | None, version: int) -> None:
        self.instance, self.template, self.version = instance, template, version


def _begin(emulator: Emulator, group: Any, what: str, why: str, place: Place) -> Activity:
    record = record_of(group)
    details = {"Availability Zone": place.zone}
    if place.subnet_id:
        details = {"Subnet ID": place.subnet_id, **details}
    cause = f"{record.why}  {why}".strip()
    activity = Activity(group.name, what, cause, group.arn, emulator.clock.now(), details=details)
    activity.move("PreInService", 30)
    record.activities.appendleft(activity)
    return activity


def _enter(emulator: Emulator, group: Any, state: Any, first: str) -> None:
    """Begin in a pending state; launch hooks hold there."""
    state.lifecycle_state = str(first)
    state.sgl.actions = pending_actions(emulator, group, LAUNCH_TRANSITION)
    if state.sgl.actions:
        state.lifecycle_state = str(after(first, Event.HOLD))
        state.sgl.entering.move("MidLifecycleAction", 60)


def _join(emulator: Emulator, group: Any, made: _Made, activity: Activity) -> Any:
    activity.description += f": {made.instance.id}"
    made.instance.autoscaling_group = group
    protected = bool(group.new_instances_protected_from_scale_in)
    state: Any = InstanceState(made.instance, "Pending", protected_from_scale_in=protected)
    state.sgl = MemberRecord(emulator.clock(), made.template, made.version, activity)
    return state


def _run_any_type(
    emulator: Emulator, group: Any, place: Place, *, spot: bool, activity: Activity
) -> _Made | None:
    """Try the instance types in their order; None (and a failed activity) when all are refused."""
    refusal: ServiceException | None = None
    for instance_type in configuration.instance_types(group):
        try:
            return _run(emulator, group, place, instance_type, spot=spot)
        except ServiceException as error:
            refusal = error
            if error.code not in NO_CAPACITY:
                break
    assert refusal is not None, "a group has at least one instance type"
    _refused(emulator, group, place, activity, refusal)
    return None


def _refused(
    emulator: Emulator, group: Any, place: Place, activity: Activity, error: ServiceException
) -> None:
    record, now = record_of(group), emulator.clock()
    message = f"{error.message}  Launching EC2 instance failed."
    log.error("group %s: %s", group.name, message)
    activity.finish(emulator.clock.now(), "Failed", message)
    record.failed(now, place.zone if error.code in NO_CAPACITY else None)


def _run(emulator: Emulator, group: Any, place: Place, instance_type: str, *, spot: bool) -> _Made:
    ec2, current = emulator.ec2, configuration.in_force(group)
    source = group if current.template is None else current.resolved()
    tags = dict(source.instance_tags if current.template is not None else {})
    tags.update({t["Key"]: t["Value"] for t in group.tags if t.get("PropagateAtLaunch")})
    tags[ASG_NAME_TAG] = group.name
    kwargs: dict[str, Any] = {
        "tags": {"instance": tags},
        "subnet_id": place.subnet_id,
        "placement": place.zone,
        "is_instance_type_default": False,
        "instance_type": instance_type,
        "associate_public_ip": None,
    }
    template, number = None, 0
    if current.template is not None:
        number = source.number
        known = {"LaunchTemplateId": current.template.id, "Version": str(number)}
        template = {**known, "LaunchTemplateName": current.template.name}
        kwargs["launch_template"] = known
    else:
        kwargs["launch_config"] = group.launch_config
    if spot:
        kwargs["instance_market_options"] = "spot"
    reservation = ec2.run_instances(
        source.image_id, 1, source.user_data, list(source.security_groups), **kwargs
    )
    instance = reservation.instances[0]
    if spot:
        instance.lifecycle = "spot"
    return _Made(instance, template, number)
