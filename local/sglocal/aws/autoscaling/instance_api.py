"""Calls about single members: standby, attaching and detaching, health, protection, processes.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnterStandby.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DetachInstances.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AttachInstances.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetInstanceHealth.html
"""

from __future__ import annotations

from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import ASG_NAME_TAG, AutoScalingBackend, InstanceState
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from sglocal.aws.autoscaling import causes
from sglocal.aws.autoscaling.arriving import register_running
from sglocal.aws.autoscaling.capacity_api import lower_desired
from sglocal.aws.autoscaling.health_check import in_grace, mark
from sglocal.aws.autoscaling.leaving import stand_by
from sglocal.aws.autoscaling.lifecycle import LEAVING, Event, State, after, knows
from sglocal.aws.autoscaling.lookup import find_group, find_instance, find_members
from sglocal.aws.autoscaling.records import (
    Activity,
    MemberRecord,
    all_members,
    record_of,
    suspended,
)
from sglocal.aws.emulator import Emulator

PROCESSES = (
    "AZRebalance",
    "AddToLoadBalancer",
    "AlarmNotification",
    "HealthCheck",
    "InstanceRefresh",
    "Launch",
    "ReplaceUnhealthy",
    "ScheduledActions",
    "Terminate",
)


def install(emulator: Emulator) -> None:
    """Replace moto's immediate moves by documented ones."""
    calls = InstanceCalls(emulator)
    patches = emulator.patches
    patches.wrap(AutoScalingResponse, "enter_standby", lambda _: calls.enter_standby())
    patches.wrap(AutoScalingResponse, "exit_standby", lambda _: calls.exit_standby())
    patches.wrap(AutoScalingResponse, "detach_instances", lambda _: calls.detach())
    patches.wrap(AutoScalingBackend, "attach_instances", lambda _: calls.attach())
    patches.wrap(AutoScalingResponse, "set_instance_health", lambda _: calls.set_health())
    patches.wrap(AutoScalingBackend, "set_instance_protection", lambda _: _protect)
    patches.wrap(AutoScalingBackend, "describe_auto_scaling_instances", lambda _: _describe)
    patches.wrap(AutoScalingBackend, "suspend_processes", calls.checked_processes)
    patches.wrap(AutoScalingBackend, "resume_processes", calls.checked_processes)


def _describe(backend: Any, instance_ids: list[str]) -> list[Any]:
    """Members of every group, warm ones included."""
    wanted = set(instance_ids or [])
    return [
        state
        for group in backend.autoscaling_groups.values()
        for state in all_members(group)
        if not wanted or state.instance.id in wanted
    ]


def _protect(backend: Any, name: str, instance_ids: list[str], protected: bool | None) -> None:
    for state in find_members(find_group(backend, name), instance_ids):
        state.protected_from_scale_in = bool(protected)


class InstanceCalls:
    """Handlers that move or mark single members."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def enter_standby(self) -> Any:
        """EnterStandby: InService only; drained, replaced unless decremented."""

        def enter_standby(response: Any) -> ActionResult:
            return self._take_aside(response, Event.ENTER_STANDBY, "moved to standby")

        return enter_standby

    def detach(self) -> Any:
        """DetachInstances: the instance runs on, outside the group."""

        def detach_instances(response: Any) -> ActionResult:
            return self._take_aside(response, Event.DETACH, "detached")

        return detach_instances

    def _take_aside(self, response: Any, event: Event, word: str) -> ActionResult:
        name = response._get_param("AutoScalingGroupName")
        group = find_group(response.autoscaling_backend, name)
        states = find_members(group, response._get_param("InstanceIds", []) or [])
        for state in states:
            if not knows(state.lifecycle_state, event):
                raise ValidationError(
                    f"The instance {state.instance.id} is not in InService or Standby: "
                    f"it is {state.lifecycle_state}."
                )
        before = int(group.desired_capacity or 0)
        active = sum(state.lifecycle_state == State.IN_SERVICE for state in states)
        if response._get_bool_param("ShouldDecrementDesiredCapacity", False):
            lower_desired(group, active)
        desired, now = int(group.desired_capacity), self.emulator.clock.now()
        activities = []
        for state in states:
            cause = causes.moved(now, state.instance.id, word, before, desired)
            activities.append(stand_by(self.emulator, group, state, event, cause).answer())
        self.emulator.wake()
        return ActionResult({"Activities": activities})

    def exit_standby(self) -> Any:
        """ExitStandby: back into service, the desired capacity incremented."""

        def exit_standby(response: Any) -> ActionResult:
            name = response._get_param("AutoScalingGroupName")
            group = find_group(response.autoscaling_backend, name)
            states = find_members(group, response._get_param("InstanceIds", []) or [])
            if suspended(group, "Launch"):
                raise ValidationError("The Launch process is suspended.")
            for state in states:
                if not knows(state.lifecycle_state, Event.EXIT_STANDBY):
                    raise ValidationError(f"The instance {state.instance.id} is not in Standby.")
            before = int(group.desired_capacity or 0)
            check_room(group, before + len(states))
            group.set_desired_capacity(before + len(states))
            activities = [self._return(group, state, before) for state in states]
            self.emulator.wake()
            return ActionResult({"Activities": activities})

        return exit_standby

    def _return(self, group: Any, state: Any, before: int) -> dict[str, Any]:
        now, instance_id = self.emulator.clock.now(), state.instance.id
        after_size = int(group.desired_capacity)
        cause = causes.moved(now, instance_id, "moved out of standby", before, after_size)
        what = f"Moving EC2 instance out of Standby: {instance_id}"
        activity = Activity(group.name, what, cause, group.arn, now)
        activity.move("PreInService", 30)
        record_of(group).activities.appendleft(activity)
        state.lifecycle_state = str(after(state.lifecycle_state, Event.EXIT_STANDBY))
        state.sgl.entering, state.sgl.actions, state.sgl.leaving_since = activity, {}, None
        return activity.answer()

    def attach(self) -> Any:
        """AttachInstances: running instances join, the desired capacity incremented."""

        def attach_instances(backend: Any, name: str, instance_ids: list[str]) -> None:
            group = find_group(backend, name)
            if suspended(group, "Launch"):
                raise ValidationError("The Launch process is suspended.")
            joining = [self._may_join(backend, instance_id) for instance_id in instance_ids]
            wanted = int(group.desired_capacity or 0) + len(joining)
            check_room(group, wanted)
            protected = bool(group.new_instances_protected_from_scale_in)
            for instance in joining:
                instance.autoscaling_group = group
                backend.ec2_backend.create_tags([instance.id], {ASG_NAME_TAG: name})
                state: Any = InstanceState(instance, protected_from_scale_in=protected)
                now = self.emulator.clock()
                state.sgl = MemberRecord(now, None, 0, in_service_at=now)
                group.instance_states.append(state)
                register_running(self.emulator, group, state)
            group.set_desired_capacity(wanted)

        return attach_instances

    def _may_join(self, backend: Any, instance_id: str) -> Any:
        instance = backend.ec2_backend.get_instance(instance_id)
        if instance.state != "running":
            raise ValidationError(f"Instance {instance_id} is not in correct state.")
        if _describe(backend, [instance_id]):
            raise ValidationError(f"Instance {instance_id} is already part of an AutoScalingGroup.")
        return instance

    def set_health(self) -> Any:
        """SetInstanceHealth: within the grace period without effect, unless told otherwise."""

        def set_instance_health(response: Any) -> ActionResult:
            backend = response.autoscaling_backend
            group, state = find_instance(backend, response._get_param("InstanceId"))
            status = response._get_param("HealthStatus")
            if status not in ("Healthy", "Unhealthy"):
                raise ValidationError("Valid instance health states are: [Healthy, Unhealthy].")
            if State(state.lifecycle_state) in LEAVING:
                raise ValidationError(f"Instance {state.instance.id} is terminating.")
            respect = response._get_bool_param("ShouldRespectGracePeriod", True)
            if status == "Healthy":
                state.health_status, state.sgl.unhealthy_by = "Healthy", ""
            elif not (respect and in_grace(self.emulator, group, state)):
                mark(state, "user")
            self.emulator.wake()
            return EmptyResult()

        return set_instance_health

    def checked_processes(self, original: Any) -> Any:
        """SuspendProcesses and ResumeProcesses: known groups and processes only."""

        def change(backend: Any, group_name: str, scaling_processes: list[str]) -> None:
            find_group(backend, group_name)
            for process in scaling_processes or []:
                if process not in PROCESSES:
                    raise ValidationError(f"Scaling process {process} is not valid.")
            original(backend, group_name, scaling_processes)
            self.emulator.wake()

        return change


def check_room(group: Any, wanted: int) -> None:
    """Raise ValidationError when the group would exceed its maximum."""
    if wanted > int(group.max_size):
        raise AutoscalingClientError(
            "ValidationError",
            f"AutoScalingGroup {group.name} has max-size={group.max_size}: "
            f"cannot increase its desired capacity to {wanted}.",
        )
