"""Capacity and membership calls: they say what is wanted, the loop does it.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetDesiredCapacity.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html
"""

from __future__ import annotations

from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup, InstanceState
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from sglocal.aws.autoscaling import members
from sglocal.aws.autoscaling.groups import Groups
from sglocal.aws.autoscaling.lifecycle_api import find_group
from sglocal.aws.autoscaling.records import record_of, timestamp
from sglocal.aws.emulator import Emulator


def install(emulator: Emulator, groups: Groups) -> None:
    """Take scaling out of moto's request handlers."""
    calls = CapacityCalls(emulator, groups)
    patches = emulator.patches
    patches.wrap(FakeAutoScalingGroup, "set_desired_capacity", calls.wrap_group_desired)
    patches.wrap(AutoScalingBackend, "notify_terminate_instances", calls.wrap_notify)
    patches.wrap(AutoScalingBackend, "update_attached_target_groups", calls.wrap_targets)
    patches.wrap(AutoScalingResponse, "set_desired_capacity", calls.wrap_set_desired)
    patches.wrap(
        AutoScalingResponse, "terminate_instance_in_auto_scaling_group", calls.wrap_terminate
    )
    patches.wrap(AutoScalingResponse, "describe_scaling_activities", calls.wrap_activities)
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

    def __init__(self, emulator: Emulator, groups: Groups) -> None:
        self.emulator = emulator
        self.groups = groups

    def wrap_group_desired(self, _original: Any) -> Any:
        """Only the number; instances follow."""

        def set_desired_capacity(group: Any, capacity: int | None) -> None:
            before = getattr(group, "desired_capacity", None)
            group.desired_capacity = group.min_size if capacity is None else capacity
            if before != group.desired_capacity:
                record_of(group).why = (
                    f"At {timestamp()} a user request changed constraints to min: "
                    f"{group.min_size}, max: {group.max_size}, desired: {group.desired_capacity}, "
                    f"changing the desired capacity from {before or 0} to "
                    f"{group.desired_capacity}."
                )
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
                if state.lifecycle_state == "InService" and state.instance.state == "running":
                    members.register(self.emulator, group, state.instance)

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
            group.set_desired_capacity(wanted)
            return EmptyResult()

        return set_desired_capacity

    def wrap_terminate(self, _original: Any) -> Any:
        """TerminateInstanceInAutoScalingGroup: hooks hold; replaced unless decremented."""

        def terminate(response: Any) -> ActionResult:
            instance_id = response._get_param("InstanceId")
            decrement = response._get_bool_param("ShouldDecrementDesiredCapacity", False)
            group, state = self._member(response.autoscaling_backend, instance_id)
            if decrement and group.desired_capacity - 1 < group.min_size:
                raise ValidationError(
                    f"Currently, desiredSize equals minSize ({group.min_size}). Terminating "
                    "instance without replacement will violate group's min size constraint."
                )
            if decrement:
                group.set_desired_capacity(group.desired_capacity - 1)
            reason = (
                f"instance {instance_id} was taken out of service in response to a user request."
            )
            members.retire(self.emulator, group, state, reason, skip_hooks=False)
            self.emulator.wake()
            return ActionResult({"Activity": state.sgl.leaving_activity.answer()})

        return terminate

    def _member(self, backend: Any, instance_id: str) -> tuple[Any, Any]:
        for group in backend.autoscaling_groups.values():
            for state in group.instance_states:
                if state.instance.id == instance_id:
                    return group, state
        raise ValidationError(f"Instance Id not found - No managed instance found: {instance_id}")

    def wrap_activities(self, _original: Any) -> Any:
        """DescribeScalingActivities, newest first."""

        def describe_scaling_activities(response: Any) -> ActionResult:
            name = response._get_param("AutoScalingGroupName")
            wanted = set(response._get_param("ActivityIds", []) or [])
            limit = response._get_int_param("MaxRecords", 100)
            backend = response.autoscaling_backend
            groups = [find_group(backend, name)] if name else backend.autoscaling_groups.values()
            found = [a for group in groups for a in record_of(group).activities]
            found = [a for a in found if not wanted or a.activity_id in wanted]
            found.sort(key=lambda a: a.start_time, reverse=True)
            return ActionResult({"Activities": [a.answer() for a in found[:limit]]})

        return describe_scaling_activities
