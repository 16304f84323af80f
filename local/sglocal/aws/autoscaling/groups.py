"""The loop that brings every group to its desired capacity.

moto changes instances while the request waits and forgets health, hooks, zones and warm pools.
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html
"""

from __future__ import annotations

from typing import Any

from moto.autoscaling.models import ASG_NAME_TAG

from sglocal.aws.autoscaling import announcing, causes, health_check, lifecycle, plan, refreshing
from sglocal.aws.autoscaling.arriving import (
    advance_launching,
    advance_warming,
    drop,
)
from sglocal.aws.autoscaling.launching import launch, launch_warm, take_from_pool
from sglocal.aws.autoscaling.leaving import (
    advance_detaching,
    advance_leaving,
    advance_standby,
    excess_cause,
    give_back,
    retire,
)
from sglocal.aws.autoscaling.lifecycle import State
from sglocal.aws.autoscaling.records import (
    Activity,
    all_members,
    find_member,
    record_of,
)
from sglocal.aws.autoscaling.snapshot import group_view
from sglocal.aws.emulator import Emulator


class Groups:
    """Reconciles moto's groups; everything here holds the emulator's lock and calls no driver."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def reconcile(self) -> None:
        """One look at every group."""
        with self.emulator.lock:
            groups = self.emulator.autoscaling.autoscaling_groups
            for group in list(groups.values()):
                self._reconcile(group)
                if record_of(group).deleting and not all_members(group):
                    groups.pop(group.name, None)

    def _reconcile(self, group: Any) -> None:
        for state in all_members(group):
            self._advance(group, state)
        record = record_of(group)
        if record.refresh is not None and not record.deleting:
            refreshing.advance(self.emulator, group, record.refresh)
        self._act(group)
        announcing.announce(self.emulator, group)
        if record.deleting_pool and not record.warm:
            group.warm_pool, record.deleting_pool = None, False

    # -- one member -------------------------------------------------------------------------------

    def _advance(self, group: Any, state: Any) -> None:
        emulator, at = self.emulator, State(state.lifecycle_state)
        if at in lifecycle.LEAVING:
            if advance_leaving(emulator, group, state):
                drop(group, state)
        elif at in lifecycle.LAUNCHING:
            advance_launching(emulator, group, state)
        elif at in lifecycle.WARMING:
            advance_warming(emulator, group, state)
        elif at in lifecycle.WARMED:
            health_check.check_warm(emulator, group, state)
        elif at is State.ENTERING_STANDBY:
            advance_standby(emulator, group, state)
        elif at is State.DETACHING:
            self._detach(group, state)
        else:
            health_check.check(emulator, group, state)

    def _detach(self, group: Any, state: Any) -> None:
        if advance_detaching(self.emulator, group, state):
            self.emulator.ec2.delete_tags([state.instance.id], {ASG_NAME_TAG: group.name})
            drop(group, state)

    # -- the whole group --------------------------------------------------------------------------

    def _act(self, group: Any) -> None:
        record = record_of(group)
        steps = plan.plan(group_view(self.emulator, group))
        for step in steps:
            if isinstance(step, plan.Launch | plan.WarmLaunch | plan.TakeFromPool):
                if record.launch_after <= self.emulator.clock():
                    self._bring(group, step)
            else:
                self._take_out(group, step)
        if not steps:
            record.why, record.blocked_at = "", None

    def _bring(self, group: Any, step: plan.Launch | plan.WarmLaunch | plan.TakeFromPool) -> None:
        if isinstance(step, plan.Launch):
            launch(self.emulator, group, step)
        elif isinstance(step, plan.WarmLaunch):
            launch_warm(self.emulator, group, step)
        else:
            take_from_pool(self.emulator, group, find_member(group, step.instance_id))

    def _take_out(
        self, group: Any, step: plan.Terminate | plan.ReturnToPool | plan.Blocked
    ) -> None:
        if isinstance(step, plan.Blocked):
            self._note_blocked(group)
            return
        emulator, now = self.emulator, self.emulator.clock.now()
        state: Any = find_member(group, step.instance_id)
        size = sum(s.lifecycle_state in lifecycle.ACTIVE for s in group.instance_states)
        if isinstance(step, plan.ReturnToPool):
            give_back(emulator, group, state, excess_cause(emulator, group, step.instance_id, size))
            return
        if step.why == "unhealthy":
            cause = causes.unhealthy(now, state.sgl.unhealthy_by)
        elif step.why == "at_risk":
            cause = causes.at_risk(now, step.instance_id)
        elif state.lifecycle_state in (*lifecycle.WARMING, *lifecycle.WARMED):
            cause = causes.pool_shrunk(now, len(record_of(group).warm))
        else:
            cause = excess_cause(emulator, group, step.instance_id, size)
        retire(emulator, group, state, cause, skip_hooks=False)

    def _note_blocked(self, group: Any) -> None:
        """One activity for each desired capacity that protection makes impossible."""
        record, now = record_of(group), self.emulator.clock.now()
        if record.blocked_at == group.desired_capacity:
            return
        record.blocked_at = group.desired_capacity
        activity = Activity(group.name, causes.PROTECTED, record.why, group.arn, now)
        activity.finish(now, "Cancelled")
        record.activities.appendleft(activity)
