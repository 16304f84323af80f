"""CreateAutoScalingGroup, UpdateAutoScalingGroup, DeleteAutoScalingGroup with all their fields.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_UpdateAutoScalingGroup.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html
"""

from __future__ import annotations

from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from sglocal.aws.autoscaling import causes
from sglocal.aws.autoscaling.leaving import retire
from sglocal.aws.autoscaling.lifecycle_api import put_hook
from sglocal.aws.autoscaling.lookup import find_group
from sglocal.aws.autoscaling.policy_alarms import delete_policy
from sglocal.aws.autoscaling.records import all_members, record_of
from sglocal.aws.autoscaling.termination import POLICIES
from sglocal.aws.emulator import Emulator

# Fields that moto drops, by the name of the attribute its serializer reads.
KEPT_FIELDS = {
    "DefaultInstanceWarmup": "default_instance_warmup",
    "InstanceMaintenancePolicy": "instance_maintenance_policy",
    "MaxInstanceLifetime": "max_instance_lifetime",
    "CapacityRebalance": "capacity_rebalance",
    "DefaultCooldown": "default_cooldown",
    "TerminationPolicies": "termination_policies",
    "PlacementGroup": "placement_group",
    "DesiredCapacityType": "desired_capacity_type",
    "AvailabilityZoneDistribution": "availability_zone_distribution",
    "CapacityReservationSpecification": "capacity_reservation_specification",
}

LAUNCH_FIELDS = ("LaunchTemplate", "LaunchConfigurationName", "MixedInstancesPolicy")


def install(emulator: Emulator) -> None:
    """Validate, keep every field, and delete only what is empty or forced."""
    calls = GroupCalls(emulator)
    patches = emulator.patches
    patches.wrap(AutoScalingResponse, "create_auto_scaling_group", calls.wrap_create)
    patches.wrap(AutoScalingResponse, "update_auto_scaling_group", calls.wrap_update)
    patches.wrap(AutoScalingResponse, "delete_auto_scaling_group", calls.wrap_delete)
    patches.wrap(FakeAutoScalingGroup, "update", _keep_policy)
    patches.wrap(FakeAutoScalingGroup, "launch_template", _one_template)


def _keep_policy(original: Any) -> Any:
    """moto forgets the mixed-instances policy when an update does not repeat it."""

    def update(group: Any, *args: Any, **kwargs: Any) -> None:
        before = group.mixed_instances_policy
        original(group, *args, **kwargs)
        if not kwargs.get("mixed_instances_policy") and not kwargs.get("launch_template"):
            group.mixed_instances_policy = before

    return update


def _one_template(original: Any) -> property:
    """A group answers LaunchTemplate or MixedInstancesPolicy, never both."""

    def launch_template(group: Any) -> dict[str, Any] | None:
        if group.mixed_instances_policy:
            return None
        template: dict[str, Any] | None = original.fget(group)
        return template

    return property(launch_template)


def check_bounds(minimum: int, maximum: int, desired: int | None) -> None:
    """Raise ValidationError, in AWS's words, for sizes that contradict each other."""
    if minimum < 0 or maximum < 0:
        raise ValidationError("MinSize and MaxSize must not be negative")
    if maximum < minimum:
        raise ValidationError(
            f"Max bound, {maximum}, must be greater than or equal to min bound, {minimum}"
        )
    if desired is not None and not minimum <= desired <= maximum:
        raise ValidationError(
            f"Desired capacity:{desired} must be between the specified min size:{minimum} "
            f"and max size:{maximum}"
        )


def desired_after(
    given: int | None, current: int, minimum: int, maximum: int, *, changed: tuple[bool, bool]
) -> int | None:
    """The desired capacity after an update; None: unchanged.

    A new minimum above the current size raises it, a new maximum below it lowers it
    (`changed`: whether minimum and maximum were given).
    """
    if given is not None:
        return given
    if changed[0] and minimum > current:
        return minimum
    if changed[1] and maximum < current:
        return maximum
    return None


def _check_policies(given: list[str] | None) -> None:
    """Raise ValidationError for an unknown termination policy, or Default before another."""
    for position, policy in enumerate(given or [], start=1):
        if policy not in POLICIES and not policy.startswith("arn:"):
            raise ValidationError(f"Termination policy {policy} is not valid.")
        if policy == "Default" and position < len(given or []):
            raise ValidationError("The Default termination policy must be the last in the list.")


class GroupCalls:
    """Handlers of the group itself."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def wrap_create(self, original: Any) -> Any:
        """CreateAutoScalingGroup: also its initial hooks, before the first launch."""

        def create_auto_scaling_group(response: Any) -> ActionResult:
            name = response._get_param("AutoScalingGroupName")
            backend = response.autoscaling_backend
            if name in backend.autoscaling_groups:
                raise AutoscalingClientError(
                    "AlreadyExists", f"AutoScalingGroup by this name already exists - {name}"
                )
            check_bounds(
                response._get_int_param("MinSize"),
                response._get_int_param("MaxSize"),
                response._get_int_param("DesiredCapacity"),
            )
            _check_policies(response._get_param("TerminationPolicies"))
            original(response)
            group = backend.autoscaling_groups[name]
            _keep_fields(group, response._get_params())
            grace = response._get_int_param("HealthCheckGracePeriod")
            group.health_check_grace_period = grace or 0  # moto turns 0 into 300
            now = self.emulator.clock.now()
            record_of(group).why = causes.created(now, int(group.desired_capacity or 0))
            for hook in response._get_param("LifecycleHookSpecificationList", []) or []:
                put_hook(backend, name, dict(hook))
            self.emulator.wake()
            return EmptyResult()

        return create_auto_scaling_group

    def wrap_update(self, original: Any) -> Any:
        """UpdateAutoScalingGroup: bounds move the desired capacity as AWS documents it."""

        def update_auto_scaling_group(response: Any) -> ActionResult:
            name = response._get_param("AutoScalingGroupName")
            group = find_group(response.autoscaling_backend, name)
            _refuse_during_refresh(group, response._get_params())
            minimum = response._get_int_param("MinSize")
            maximum = response._get_int_param("MaxSize")
            given = response._get_int_param("DesiredCapacity")
            changed = (minimum is not None, maximum is not None)
            minimum = group.min_size if minimum is None else minimum
            maximum = group.max_size if maximum is None else maximum
            check_bounds(minimum, maximum, given)
            _check_policies(response._get_param("TerminationPolicies"))
            before = int(group.desired_capacity or 0)
            wanted = desired_after(given, before, minimum, maximum, changed=changed)
            original(response)
            _keep_fields(group, response._get_params())
            desired = before if wanted is None else wanted
            if desired != before:
                now = self.emulator.clock.now()
                record_of(group).why = causes.updated(now, minimum, maximum, before, desired)
            group.set_desired_capacity(desired)
            return EmptyResult()

        return update_auto_scaling_group

    def wrap_delete(self, _original: Any) -> Any:
        """DeleteAutoScalingGroup: refused while instances remain, unless forced."""

        def delete_auto_scaling_group(response: Any) -> ActionResult:
            name = response._get_param("AutoScalingGroupName")
            group = find_group(response.autoscaling_backend, name)
            force = response._get_bool_param("ForceDelete", False)
            if all_members(group) and not force:
                raise AutoscalingClientError(
                    "ResourceInUse",
                    "You cannot delete an AutoScalingGroup while there are instances or pending "
                    "Spot instance request(s) still in the group.",
                )
            self._delete(response.autoscaling_backend, group)
            return EmptyResult()

        return delete_auto_scaling_group

    def _delete(self, backend: Any, group: Any) -> None:
        record = record_of(group)
        record.deleting = True
        group.status = "Delete in progress"
        group.min_size = group.max_size = group.desired_capacity = 0
        for state in all_members(group):
            cause = causes.user_request(self.emulator.clock.now(), state.instance.id, None)
            retire(self.emulator, group, state, cause, skip_hooks=True)
        if group.warm_pool is not None:
            record.deleting_pool, group.warm_pool.status = True, "PendingDelete"
        for key in [k for k, h in backend.lifecycle_hooks.items() if _of(h, group)]:
            del backend.lifecycle_hooks[key]
        for policy in [p for p in backend.policies.values() if _of(p, group)]:
            delete_policy(self.emulator, policy)
        if not all_members(group):
            backend.autoscaling_groups.pop(group.name, None)
        self.emulator.wake()


def _refuse_during_refresh(group: Any, given: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html#instance-refresh-limitations"""
    refresh = record_of(group).refresh
    if refresh is None or refresh.desired is None:
        return
    if any(given.get(f) for f in LAUNCH_FIELDS):
        raise ValidationError(
            "An active instance refresh with a desired configuration exists. All configuration "
            "options derived from the desired configuration are not available for update while "
            "the instance refresh is active."
        )


def _of(item: Any, group: Any) -> bool:
    return bool(item.auto_scaling_group_name == group.name)


def _keep_fields(group: Any, given: dict[str, Any]) -> None:
    for field, attribute in KEPT_FIELDS.items():
        if given.get(field) is not None:
            value = given[field]
            if field == "DefaultInstanceWarmup" and int(value) < 0:
                value = None  # -1 removes it
            setattr(group, attribute, value)
