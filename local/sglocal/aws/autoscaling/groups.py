"""The loop that brings every group to its desired capacity.

moto changes instances while the request waits and forgets health, hooks and zones.
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-health-checks.html
"""

from __future__ import annotations

import logging
from typing import Any

from sglocal.aws.autoscaling import members, plan
from sglocal.aws.autoscaling.records import MemberRecord, record_of
from sglocal.aws.emulator import Emulator
from sglocal.aws.instances import InstanceHosts

log = logging.getLogger(__name__)

# Seconds within which the load balancer surely counted its streams again.
SETTLE_S = 1.5


class Groups:
    """Reconciles moto's groups; everything here holds the emulator's lock and calls no driver."""

    def __init__(self, emulator: Emulator, hosts: InstanceHosts) -> None:
        self.emulator = emulator
        self.hosts = hosts

    def reconcile(self) -> None:
        """One look at every group."""
        with self.emulator.lock:
            groups = self.emulator.autoscaling.autoscaling_groups
            for group in list(groups.values()):
                for state in list(group.instance_states):
                    self._advance(group, state)
                self._act(group)
                if record_of(group).deleting and not group.instance_states:
                    groups.pop(group.name, None)

    # -- one member -------------------------------------------------------------------------------

    def _advance(self, group: Any, state: Any) -> None:
        if not hasattr(state, "sgl"):  # AttachInstances makes moto's own object
            state.sgl = MemberRecord(self.emulator.clock(), None, 0)
            state.sgl.in_service_at = self.emulator.clock()
            self._register_running(group, state)
        if state.lifecycle_state.startswith("Terminating"):
            self._advance_leaving(group, state)
        elif state.lifecycle_state in plan.LAUNCHING:
            self._advance_launching(group, state)
        else:
            self._check_health(group, state)

    def _advance_launching(self, group: Any, state: Any) -> None:
        instance, record = state.instance, state.sgl
        if instance.state in ("shutting-down", "terminated"):
            self._launch_failed(group, state)
            return
        result = record.settled(self.emulator.clock())
        if result == "ABANDON":
            # After AWS's own wording.
            record.activity.finish(
                "Failed",
                "Instance failed to complete user's Lifecycle Action: it was abandoned: "
                "Lifecycle Action Completed with ABANDON Result",
            )
            record_of(group).failed(self.emulator.clock())
            reason = "an instance was taken out of service because its launch hook abandoned it."
            members.retire(self.emulator, group, state, reason, skip_hooks=False)
        elif result == "CONTINUE" and instance.state == "running":
            state.lifecycle_state = "InService"
            record.in_service_at = self.emulator.clock()
            record.activity.finish("Successful")
            record_of(group).succeeded()
            self._register_running(group, state)
        elif result == "CONTINUE":
            state.lifecycle_state = "Pending:Proceed" if record.actions else "Pending"

    def _launch_failed(self, group: Any, state: Any) -> None:
        reason = state.instance.state_reason
        message = f"{reason.code}: {reason.message}. Launching EC2 instance failed."
        log.error("group %s: %s: %s", group.name, state.instance.id, message)
        state.sgl.activity.finish("Failed", message)
        record_of(group).failed(self.emulator.clock())
        group.instance_states.remove(state)

    def _register_running(self, group: Any, state: Any) -> None:
        suspended = {p["ProcessName"] for p in group.suspended_processes}
        if state.instance.state == "running" and "AddToLoadBalancer" not in suspended:
            members.register(self.emulator, group, state.instance)

    def _advance_leaving(self, group: Any, state: Any) -> None:
        instance, record, now = state.instance, state.sgl, self.emulator.clock()
        if instance.state == "terminated":
            group.instance_states.remove(state)
            if record.leaving_activity is not None:
                record.leaving_activity.finish("Successful")
            return
        if record.settled(now) is None or instance.state == "shutting-down":
            return
        state.lifecycle_state = "Terminating:Proceed" if record.actions else "Terminating"
        waited = now - (record.terminating_at or now)
        delay = members.drain_delay_s(self.emulator, group)
        # The count of streams is a look old; wait for one taken after the deregistration.
        streams = self.emulator.open_sessions(instance.id) or waited < SETTLE_S
        if streams and waited < delay:
            return
        self.emulator.ec2.terminate_instances([instance.id])

    def _check_health(self, group: Any, state: Any) -> None:
        instance = state.instance
        if instance.state == "terminated":
            reason = "an instance was taken out of service because it was terminated outside."
            members.retire(self.emulator, group, state, reason, skip_hooks=True)
        elif state.lifecycle_state != "InService":
            return
        elif instance.state != "running" or self._target_unhealthy(group, state):
            state.health_status = "Unhealthy"

    def _target_unhealthy(self, group: Any, state: Any) -> bool:
        if "ELB" not in (group.health_check_type or ""):
            return False
        in_service_at = state.sgl.in_service_at
        now = self.emulator.clock()
        if in_service_at is None or now - in_service_at < float(
            group.health_check_grace_period or 0
        ):
            return False
        for arn in group.target_group_arns:
            target_group = self.emulator.elbv2.target_groups.get(arn)
            target = target_group.targets.get(state.instance.id) if target_group else None
            if target and target_group.health_for(target, self.emulator.ec2).status == "unhealthy":
                return True
        return False

    # -- the whole group --------------------------------------------------------------------------

    def _act(self, group: Any) -> None:
        for step in plan.plan(self._view(group)):
            if isinstance(step, plan.Launch):
                if record_of(group).launch_after > self.emulator.clock():
                    break
                members.launch(self.emulator, group, step)
                continue
            state = next(s for s in group.instance_states if s.instance.id == step.instance_id)
            if step.unhealthy:
                why = "EC2 instance status check" if state.instance.state != "running" else "ELB"
                reason = f"an instance was taken out of service in response to {why} health check."
            else:
                reason = (
                    "an instance was taken out of service in response to a difference between "
                    "desired and actual capacity, shrinking the capacity to "
                    f"{group.desired_capacity}."
                )
            members.retire(self.emulator, group, state, reason, skip_hooks=False)

    def _view(self, group: Any) -> plan.GroupView:
        suspended = {p["ProcessName"] for p in group.suspended_processes}
        record = record_of(group)
        return plan.GroupView(
            desired=int(group.desired_capacity or 0),
            places=self._places(group),
            members=[self._member(state) for state in group.instance_states],
            distribution=_distribution(group),
            policies=tuple(group.termination_policies),
            may_launch="Launch" not in suspended
            and not record.deleting
            and record.launch_after <= self.emulator.clock(),
            may_terminate="Terminate" not in suspended,
            may_replace="ReplaceUnhealthy" not in suspended and "HealthCheck" not in suspended,
        )

    def _places(self, group: Any) -> list[plan.Place]:
        ids = [name.strip() for name in (group.vpc_zone_identifier or "").split(",") if name]
        if not ids:
            return [plan.Place(zone, None) for zone in group.availability_zones]
        subnets = [self.emulator.ec2.get_subnet(subnet_id) for subnet_id in ids]
        return [plan.Place(subnet.availability_zone, subnet.id) for subnet in subnets]

    def _member(self, state: Any) -> plan.Member:
        return plan.Member(
            instance_id=state.instance.id,
            state=state.lifecycle_state,
            zone=str(state.availability_zone),
            spot=state.instance.lifecycle == "spot",
            healthy=state.health_status == "Healthy",
            protected=bool(state.protected_from_scale_in),
            template_version=state.sgl.template_version,
            launched_at=state.sgl.launched_at,
        )


def _distribution(group: Any) -> plan.Distribution:
    policy = group.mixed_instances_policy or {}
    given = policy.get("InstancesDistribution") or {}
    return plan.Distribution(
        on_demand_base=int(given.get("OnDemandBaseCapacity") or 0),
        on_demand_percent=int(given.get("OnDemandPercentageAboveBaseCapacity", 100)),
    )
