"""Calls about capacity: they say what is wanted, the loop does it.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetDesiredCapacity.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup, InstanceState
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from sglocal.aws.autoscaling import causes
from sglocal.aws.autoscaling.leaving import retire
from sglocal.aws.autoscaling.lifecycle import State
from sglocal.aws.autoscaling.lookup import find_group, find_instance
from sglocal.aws.autoscaling.pages import page
from sglocal.aws.autoscaling.records import Activity, record_of
from sglocal.aws.autoscaling.transitions import register
from sglocal.aws.emulator import Emulator

LONGEST_PAGE = 100


def install(emulator: Emulator) -> None:
    """Take scaling out of moto's request handlers."""
    calls = CapacityCalls(emulator)
    patches = emulator.patches
    patches.wrap(FakeAutoScalingGroup, "set_desired_capacity", calls.wrap_group_desired)
    patches.wrap(AutoScalingBackend, "notify_terminate_instances", calls.wrap_notify)
    patches.wrap(AutoScalingBackend, "update_attached_target_groups", calls.wrap_targets)
    patches.wrap(AutoScalingResponse, "set_desired_capacity", calls.wrap_set_desired)
    patches.wrap(
        AutoScalingResponse, "terminate_instance_in_auto_scaling_group", calls.wrap_terminate
    )
    patches.wrap(AutoScalingResponse, "describe_scaling_activities", lambda _: _activities)
    patches.wrap(InstanceState, "launch_template", _template_of_member)


def _template_of_member(original: Any) -> property:
    """What the instance was launched from; moto answers the group's default version."""

    def launch_template(state: Any) -> dict[str, Any] | None:
        record = getattr(state, "sgl", None)
        if record is None:
            template: dict[str, Any] | None = original.fget(state)
            return template
        return dict(record.template) if record.template else None

    return property(launch_template)


class CapacityCalls:
    """Handlers that record what is wanted and wake the loop."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def wrap_group_desired(self, _original: Any) -> Any:
        """Only the number; instances follow."""

        def set_desired_capacity(group: Any, capacity: int | None) -> None:
            group.desired_capacity = group.min_size if capacity is None else capacity
            self.emulator.wake()

        return set_desired_capacity

    def wrap_notify(self, _original: Any) -> Any:
        """Instances terminated by TerminateInstances: the loop notices and replaces them."""

        def notify_terminate_instances(_backend: Any, _instance_ids: list[str]) -> None:
            self.emulator.wake()

        return notify_terminate_instances

    def wrap_targets(self, _original: Any) -> Any:
        """Only instances in service are registered (moto registers all, running or not)."""

        def update_attached_target_groups(backend: Any, group_name: str) -> None:
            group = backend.autoscaling_groups[group_name]
            for state in group.instance_states:
                if state.lifecycle_state == State.IN_SERVICE and state.instance.state == "running":
                    register(self.emulator, group, state.instance)

        return update_attached_target_groups

    def wrap_set_desired(self, _original: Any) -> Any:
        """SetDesiredCapacity within the group's bounds."""

        def set_desired_capacity(response: Any) -> ActionResult:
            name = response._get_param("AutoScalingGroupName")
            group = find_group(response.autoscaling_backend, name)
            wanted = response._get_int_param("DesiredCapacity")
            bound, word = (group.max_size, "above max")
            if wanted < group.min_size:
                bound, word = (group.min_size, "below min")
            if not group.min_size <= wanted <= group.max_size:
                raise ValidationError(
                    f"New SetDesiredCapacity value {wanted} is {word} value {bound} "
                    f"for the AutoScalingGroup."
                )
            before = int(group.desired_capacity or 0)
            if before != wanted:
                now = self.emulator.clock.now()
                record_of(group).why = causes.explicitly_set(now, before, wanted)
            group.set_desired_capacity(wanted)
            return EmptyResult()

        return set_desired_capacity

    def wrap_terminate(self, _original: Any) -> Any:
        """TerminateInstanceInAutoScalingGroup: hooks hold; replaced unless decremented.

        Not for warm instances.
        """

        def terminate(response: Any) -> ActionResult:
            instance_id = response._get_param("InstanceId")
            decrement = response._get_bool_param("ShouldDecrementDesiredCapacity", False)
            group, state = find_instance(response.autoscaling_backend, instance_id)
            if state in record_of(group).warm:
                raise ValidationError(f"The instance {instance_id} is in a warm pool.")
            before = int(group.desired_capacity or 0)
            if decrement:
                lower_desired(group, 1)
            shrinking = (before, before - 1) if decrement else None
            cause = causes.user_request(self.emulator.clock.now(), instance_id, shrinking)
            activity = retire(self.emulator, group, state, cause, skip_hooks=False)
            self.emulator.wake()
            return ActionResult({"Activity": activity.answer()})

        return terminate


def lower_desired(group: Any, count: int) -> None:
    """Decrement the desired capacity. Raises ValidationError below the minimum."""
    wanted = int(group.desired_capacity or 0) - count
    if wanted < group.min_size:
        raise ValidationError(
            f"Currently, desiredSize equals minSize ({group.min_size}). Terminating "
            "instance without replacement will violate group's min size constraint. "
            "Either set shouldDecrementDesiredCapacity flag to false or lower group's min size."
        )
    group.set_desired_capacity(wanted)


def _activities(response: Any) -> ActionResult:
    """DescribeScalingActivities: those in progress first, then the newest."""
    name = response._get_param("AutoScalingGroupName")
    wanted = set(response._get_param("ActivityIds", []) or [])
    backend = response.autoscaling_backend
    groups = [find_group(backend, name)] if name else backend.autoscaling_groups.values()
    found = [a for group in groups for a in record_of(group).activities]
    found = [a for a in found if not wanted or a.activity_id in wanted]
    found.sort(key=_newest_first, reverse=True)
    shown, token = page(response, found, longest=LONGEST_PAGE)
    return ActionResult({"Activities": [a.answer() for a in shown], "NextToken": token})


def _newest_first(activity: Activity) -> tuple[bool, datetime]:
    return activity.end_time is None, activity.start_time
