"""What every move of an instance needs: its group's hooks, its places in target groups."""

from __future__ import annotations

from typing import Any

from sglocal.aws.autoscaling.hooks import PendingAction
from sglocal.aws.autoscaling.records import MemberRecord
from sglocal.aws.emulator import Emulator

LAUNCH_TRANSITION = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATE_TRANSITION = "autoscaling:EC2_INSTANCE_TERMINATING"
# Seconds within which the load balancer surely counted its streams again.
SETTLE_S = 1.5


def pending_actions(emulator: Emulator, group: Any, transition: str) -> dict[str, PendingAction]:
    """The group's hooks of a transition, beginning to hold now."""
    now = emulator.clock()
    return {
        hook.name: PendingAction.start(
            hook.name, hook.default_result, int(hook.heartbeat_timeout), now
        )
        for hook in emulator.autoscaling.describe_lifecycle_hooks(group.name)
        if hook.lifecycle_transition == transition
    }


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


def drained(emulator: Emulator, group: Any, instance_id: str, record: MemberRecord) -> bool:
    """Whether an instance taken out of its target groups may go on: no streams, or no more time."""
    if record.leaving_since is None:
        return True
    waited = emulator.clock() - record.leaving_since
    if waited >= _drain_delay_s(emulator, group):
        return True
    # The count of streams is a look old; wait for one taken after the deregistration.
    return waited >= SETTLE_S and not emulator.open_sessions(instance_id)


def _drain_delay_s(emulator: Emulator, group: Any) -> float:
    """The longest deregistration delay of the group's target groups, in seconds."""
    delays = [0.0]
    for arn in group.target_group_arns:
        target_group = emulator.elbv2.target_groups.get(arn)
        if target_group is not None:
            delays.append(float(target_group.attributes["deregistration_delay.timeout_seconds"]))
    return max(delays)
