"""One look at an instance that is on its way into the group or into its warm pool."""

from __future__ import annotations

import logging
from typing import Any

from sglocal.aws.autoscaling import causes
from sglocal.aws.autoscaling.leaving import retire
from sglocal.aws.autoscaling.lifecycle import Event, after, warm_event
from sglocal.aws.autoscaling.records import record_of, suspended
from sglocal.aws.autoscaling.transitions import drained, register
from sglocal.aws.emulator import Emulator

log = logging.getLogger(__name__)


def advance_launching(emulator: Emulator, group: Any, state: Any) -> None:
    """Pending, held, then in service once the hooks are done and the instance runs."""
    if not _proceeds(emulator, group, state) or state.instance.state != "running":
        return
    record = state.sgl
    state.lifecycle_state = str(after(state.lifecycle_state, Event.SERVE))
    record.in_service_at, record.balancing = emulator.clock(), False
    state.health_status, record.unhealthy_by = "Healthy", ""
    record.entering.finish(emulator.clock.now(), "Successful")
    record_of(group).succeeded()
    register_running(emulator, group, state)


def advance_warming(emulator: Emulator, group: Any, state: Any) -> None:
    """Warmed:Pending, held, then stopped (or left running) as the pool says."""
    if not _proceeds(emulator, group, state):
        return
    instance, record = state.instance, state.sgl
    pool_state = pool_state_of(group)
    if instance.state == "running" and not drained(emulator, group, instance.id, record):
        return
    if pool_state != "Running" and instance.state == "running":
        emulator.ec2.stop_instances([instance.id])
    if instance.state == ("running" if pool_state == "Running" else "stopped"):
        state.lifecycle_state = str(after(state.lifecycle_state, warm_event(pool_state)))
        record.entering.finish(emulator.clock.now(), "Successful")
        record_of(group).succeeded()


def _proceeds(emulator: Emulator, group: Any, state: Any) -> bool:
    """Whether nothing holds the instance any more; failures and abandoned launches leave here."""
    record = state.sgl
    if state.instance.state in ("shutting-down", "terminated"):
        _failed(emulator, group, state)
        return False
    result = record.settled(emulator.clock())
    if result == "ABANDON" and record.leaving_since is None:
        _abandoned(emulator, group, state)
        return False
    if result is None:
        return False
    if state.lifecycle_state.endswith(":Wait"):
        state.lifecycle_state = str(after(state.lifecycle_state, Event.PROCEED))
        record.entering.move("PreInService", 80)
    return True


def _abandoned(emulator: Emulator, group: Any, state: Any) -> None:
    record, now = state.sgl, emulator.clock.now()
    action = next(a for a in record.actions.values() if a.result == "ABANDON")
    message = causes.lifecycle_failure(action.token, action.ending())
    record.entering.finish(now, "Cancelled", message)
    record_of(group).failed(emulator.clock())
    cause = causes.abandoned(now, state.instance.id)
    retire(emulator, group, state, cause, skip_hooks=False)


def _failed(emulator: Emulator, group: Any, state: Any) -> None:
    reason = state.instance.state_reason
    said = f"{reason.code}: {reason.message}" if reason else "The instance was terminated"
    message = f"{said}. Launching EC2 instance failed."
    log.error("group %s: %s: %s", group.name, state.instance.id, message)
    state.sgl.entering.finish(emulator.clock.now(), "Failed", message)
    record_of(group).failed(emulator.clock())
    drop(group, state)


def drop(group: Any, state: Any) -> None:
    """Forget a member of the group or of its warm pool."""
    for members in (group.instance_states, record_of(group).warm):
        if state in members:
            members.remove(state)


def register_running(emulator: Emulator, group: Any, state: Any) -> None:
    """Into the target groups, unless AddToLoadBalancer is suspended."""
    if state.instance.state == "running" and not suspended(group, "AddToLoadBalancer"):
        register(emulator, group, state.instance)


def pool_state_of(group: Any) -> str:
    """The state that the group keeps warm instances in; Stopped without a pool."""
    return str(group.warm_pool.pool_state) if group.warm_pool is not None else "Stopped"
