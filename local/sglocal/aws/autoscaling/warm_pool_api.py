"""Warm pools: PutWarmPool, DescribeWarmPool, DeleteWarmPool.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutWarmPool.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeWarmPool.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteWarmPool.html
"""

from __future__ import annotations

from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import FakeAutoScalingGroup, FakeWarmPool
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from sglocal.aws.autoscaling import causes
from sglocal.aws.autoscaling.leaving import retire
from sglocal.aws.autoscaling.lookup import find_group
from sglocal.aws.autoscaling.pages import page
from sglocal.aws.autoscaling.records import record_of
from sglocal.aws.emulator import Emulator

POOL_STATES = ("Stopped", "Running", "Hibernated")
LONGEST_PAGE = 50
REMOVE_PREPARED = -1


def install(emulator: Emulator) -> None:
    """Pools that hold instances; moto's are declarations only."""
    calls = WarmPoolCalls(emulator)
    patches = emulator.patches
    patches.wrap(AutoScalingResponse, "put_warm_pool", lambda _: calls.put())
    patches.wrap(AutoScalingResponse, "describe_warm_pool", lambda _: _describe)
    patches.wrap(AutoScalingResponse, "delete_warm_pool", lambda _: calls.delete())
    patches.set(FakeAutoScalingGroup, "warm_pool_size", property(_size))
    patches.set(FakeWarmPool, "status", None)


def _size(group: Any) -> int | None:
    """WarmPoolSize; absent without a pool."""
    return None if group.warm_pool is None else len(record_of(group).warm)


def _describe(response: Any) -> ActionResult:
    name = response._get_param("AutoScalingGroupName")
    group = find_group(response.autoscaling_backend, name)
    shown, token = page(response, record_of(group).warm, longest=LONGEST_PAGE)
    return ActionResult(
        {"WarmPoolConfiguration": group.warm_pool, "Instances": shown, "NextToken": token}
    )


class WarmPoolCalls:
    """Handlers that declare a pool and take it away."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def put(self) -> Any:
        """PutWarmPool: what is not given takes its default (MinSize 0, Stopped, no reuse)."""

        def put_warm_pool(response: Any) -> ActionResult:
            given = response._get_params()
            group = find_group(response.autoscaling_backend, given["AutoScalingGroupName"])
            if record_of(group).deleting_pool:
                raise AutoscalingClientError(
                    "ValidationError", "The warm pool is pending deletion."
                )
            _refuse_spot(group)
            group.warm_pool = _declared(given)
            self.emulator.wake()
            return EmptyResult()

        return put_warm_pool

    def delete(self) -> Any:
        """DeleteWarmPool: empty pools only, unless forced; then hooks are skipped."""

        def delete_warm_pool(response: Any) -> ActionResult:
            name = response._get_param("AutoScalingGroupName")
            group = find_group(response.autoscaling_backend, name)
            record = record_of(group)
            if group.warm_pool is None:
                raise ValidationError(f"No warm pool found for group {name}.")
            if record.warm and not response._get_bool_param("ForceDelete", False):
                raise AutoscalingClientError(
                    "ResourceInUse",
                    "You cannot delete a warm pool while there are instances still in it.",
                )
            self._empty(group)
            return EmptyResult()

        return delete_warm_pool

    def _empty(self, group: Any) -> None:
        record = record_of(group)
        if not record.warm:
            group.warm_pool = None
            return
        record.deleting_pool, group.warm_pool.status = True, "PendingDelete"
        now = self.emulator.clock.now()
        for state in list(record.warm):
            cause = causes.user_request(now, state.instance.id, None)
            retire(self.emulator, group, state, cause, skip_hooks=True)
        self.emulator.wake()


def _declared(given: dict[str, Any]) -> Any:
    prepared = int(given.get("MaxGroupPreparedCapacity") or 0)
    if "MaxGroupPreparedCapacity" not in given:
        prepared = REMOVE_PREPARED
    if prepared < REMOVE_PREPARED:
        raise ValidationError("MaxGroupPreparedCapacity must be -1 or more")
    state = given.get("PoolState") or "Stopped"
    if state not in POOL_STATES:
        raise ValidationError(f"PoolState must be one of {', '.join(POOL_STATES)}, not {state}")
    minimum = int(given.get("MinSize") or 0)
    if minimum < 0:
        raise ValidationError("MinSize must not be negative")
    make: Any = FakeWarmPool  # abstract by its CloudFormation methods only
    kept = None if prepared == REMOVE_PREPARED else prepared
    return make(kept, minimum, state, given.get("InstanceReusePolicy"))


def _refuse_spot(group: Any) -> None:
    """No warm pool beside Spot; a mixed-instances policy without Spot is allowed since 2025-11.

    https://aws.amazon.com/about-aws/whats-new/2025/11/ec2-auto-scaling-warm-pool-mixed-instances-policies/
    """
    policy = group.mixed_instances_policy or {}
    given = policy.get("InstancesDistribution") or {}
    percent = int(given.get("OnDemandPercentageAboveBaseCapacity", 100))
    if policy and percent < 100:
        raise ValidationError(
            "You can't add a warm pool to an Auto Scaling group that requests Spot Instances."
        )
