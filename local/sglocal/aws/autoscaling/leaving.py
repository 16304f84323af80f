"""Taking instances out: for good, back into the warm pool, on standby, or let go."""

from __future__ import annotations

import logging
from typing import Any

from sglocal.aws.autoscaling import causes
from sglocal.aws.autoscaling.lifecycle import LEAVING, WARMED, WARMING, Event, after
from sglocal.aws.autoscaling.records import Activity, MemberRecord, record_of
from sglocal.aws.autoscaling.transitions import (
    TERMINATE_TRANSITION,
    deregister,
    drained,
    pending_actions,
)
from sglocal.aws.emulator import Emulator

log = logging.getLogger(__name__)

_ASIDE = {
    Event.ENTER_STANDBY: "Moving EC2 instance to Standby",
    Event.DETACH: "Detaching EC2 instance",
}


def retire(emulator: Emulator, group: Any, state: Any, cause: str, *, skip_hooks: bool) -> Activity:
    """Begin to terminate an instance: out of its target groups, then its hooks hold it.

    Hooks for terminating also hold instances whose launch was abandoned or that ended outside.
    An instance that leaves already only loses its hooks, if they are to be skipped.
    """
    record: MemberRecord = state.sgl
    if state.lifecycle_state in LEAVING:
        if skip_hooks:
            record.actions = {}
        assert record.leaving is not None
        return record.leaving
    now = emulator.clock.now()
    if record.entering is not None:
        record.entering.finish(now, "Cancelled", "The instance was terminated before.")
    what = f"Terminating EC2 instance: {state.instance.id}"
    _leave(emulator, group, state, what, cause)
    assert record.leaving is not None
    warm = state.lifecycle_state in (*WARMING, *WARMED)
    record.leaving.origin = "WarmPool" if warm else ""
    state.lifecycle_state = str(after(state.lifecycle_state, Event.TERMINATE))
    record.actions = {} if skip_hooks else pending_actions(emulator, group, TERMINATE_TRANSITION)
    _hold(state)
    log.info("group %s: %s leaves (warm: %s): %s", group.name, state.instance.id, warm, cause)
    return record.leaving


def give_back(emulator: Emulator, group: Any, state: Any, cause: str) -> None:
    """Return an instance to the warm pool; hooks for terminating hold it there first.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pool-instance-lifecycle.html
    """
    _leave(
        emulator, group, state, f"Returning EC2 instance to warm pool: {state.instance.id}", cause
    )
    state.lifecycle_state = str(after(state.lifecycle_state, Event.TO_POOL))
    state.sgl.actions = pending_actions(emulator, group, TERMINATE_TRANSITION)
    # What ends the warming up finishes the activity that brings it into the pool.
    state.sgl.entering, state.sgl.leaving = state.sgl.leaving, None
    state.sgl.in_service_at = None
    _hold(state)
    group.instance_states.remove(state)
    record_of(group).warm.append(state)
    log.info("group %s: %s returns to the warm pool", group.name, state.instance.id)


def stand_by(emulator: Emulator, group: Any, state: Any, event: Event, cause: str) -> Activity:
    """ENTER_STANDBY or DETACH: out of the target groups, no hooks."""
    _leave(emulator, group, state, f"{_ASIDE[event]}: {state.instance.id}", cause)
    state.sgl.leaving.move("InProgress", 50)
    state.lifecycle_state = str(after(state.lifecycle_state, event))
    assert state.sgl.leaving is not None
    activity: Activity = state.sgl.leaving
    return activity


def _leave(emulator: Emulator, group: Any, state: Any, what: str, cause: str) -> None:
    record: MemberRecord = state.sgl
    zone = str(state.availability_zone)
    details = {"Availability Zone": zone}
    if subnet := getattr(state.instance, "subnet_id", None):
        details = {"Subnet ID": subnet, **details}
    activity = Activity(group.name, what, cause, group.arn, emulator.clock.now(), details=details)
    record_of(group).activities.appendleft(activity)
    record.leaving, record.leaving_since = activity, emulator.clock()
    deregister(emulator, group, state.instance.id)


def _hold(state: Any) -> None:
    if state.sgl.actions:
        state.lifecycle_state = str(after(state.lifecycle_state, Event.HOLD))
        activity = state.sgl.leaving or state.sgl.entering
        activity.move("MidLifecycleAction", 60)


def advance_leaving(emulator: Emulator, group: Any, state: Any) -> bool:
    """One look at an instance that terminates; True once it is gone."""
    instance, record = state.instance, state.sgl
    if record.settled(emulator.clock()) is None:
        return False
    if state.lifecycle_state.endswith(":Wait"):
        state.lifecycle_state = str(after(state.lifecycle_state, Event.PROCEED))
    if instance.state == "terminated":
        if record.leaving is not None:
            record.leaving.finish(emulator.clock.now(), "Successful")
        return True
    if instance.state == "shutting-down":
        return False
    if not drained(emulator, group, instance.id, record):
        record.leaving.move("WaitingForELBConnectionDraining", 80)
        return False
    record.leaving.move("InProgress", 90)
    emulator.ec2.terminate_instances([instance.id])
    return False


def advance_standby(emulator: Emulator, group: Any, state: Any) -> None:
    """EnteringStandby becomes Standby once the connections are drained."""
    if drained(emulator, group, state.instance.id, state.sgl):
        state.lifecycle_state = str(after(state.lifecycle_state, Event.ON_STANDBY))
        state.sgl.leaving.finish(emulator.clock.now(), "Successful")


def advance_detaching(emulator: Emulator, group: Any, state: Any) -> bool:
    """True once the group has let the instance go."""
    if not drained(emulator, group, state.instance.id, state.sgl):
        return False
    state.lifecycle_state = str(after(state.lifecycle_state, Event.DETACHED))
    state.sgl.leaving.finish(emulator.clock.now(), "Successful")
    return True


def excess_cause(emulator: Emulator, group: Any, instance_id: str, size: int) -> str:
    """Why scale-in takes an instance out."""
    shrunk = causes.shrunk(emulator.clock.now(), size, instance_id)
    return f"{record_of(group).why}  {shrunk}".strip()
