"""Sends the events of a group: what happened since the last look. Hold the emulator's lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sglocal.aws.autoscaling import events
from sglocal.aws.autoscaling.lifecycle import LEAVING
from sglocal.aws.autoscaling.records import Activity, all_members, record_of
from sglocal.aws.autoscaling.refresh import Refresh
from sglocal.aws.autoscaling.transitions import LAUNCH_TRANSITION, TERMINATE_TRANSITION
from sglocal.aws.emulator import Emulator
from sglocal.aws.event_bus import instance_arn, publish


def announce(emulator: Emulator, group: Any) -> None:
    """Hooks that hold, activities that ended, refreshes that went on."""
    record = record_of(group)
    for state in all_members(group):
        _hooks(emulator, group, state)
    for activity in reversed(record.activities):
        if activity.end_time is not None and not activity.announced:
            activity.announced = True
            _activity(emulator, activity)
    for refresh in reversed(record.refreshes):
        _refresh(emulator, group, refresh)


def _hooks(emulator: Emulator, group: Any, state: Any) -> None:
    """The lifecycle actions of one member, when it has come into its wait."""
    untold = [action for action in state.sgl.actions.values() if not action.announced]
    if not untold:
        return
    # What returns to the warm pool is entering it.
    leaves = state.lifecycle_state in LEAVING
    activity = state.sgl.leaving if leaves else state.sgl.entering
    move = events.move_of(activity) if activity is not None else None
    if move is None:
        return
    launching = move.verb == "Launch"
    word = "launch" if launching else "terminate"
    hooks = {hook.name: hook for hook in emulator.autoscaling.describe_lifecycle_hooks(group.name)}
    for action in untold:
        action.announced = True
        hook = hooks.get(action.hook)
        detail = {
            "LifecycleActionToken": action.token,
            "AutoScalingGroupName": group.name,
            "LifecycleHookName": action.hook,
            "EC2InstanceId": state.instance.id,
            "LifecycleTransition": LAUNCH_TRANSITION if launching else TERMINATE_TRANSITION,
            **move.places,
        }
        if hook is not None and hook.notification_metadata:
            detail["NotificationMetadata"] = hook.notification_metadata
        _send(emulator, f"EC2 Instance-{word} Lifecycle Action", [group.arn], detail)


def _activity(emulator: Emulator, activity: Activity) -> None:
    event = events.ended(activity)
    if event is None:
        return
    kind, detail = event
    named = events.instance_of(activity)
    resources = [activity.arn, *([instance_arn(emulator, named)] if named else [])]
    _send(emulator, kind, resources, detail)


def _refresh(emulator: Emulator, group: Any, refresh: Refresh) -> None:
    told, detail = (
        refresh.told,
        {
            "InstanceRefreshId": refresh.refresh_id,
            "AutoScalingGroupName": group.name,
        },
    )
    if refresh.status not in told:
        # Begun and ended between two looks.
        began = "InProgress" if refresh.status in ("Successful", "Baking", "Failed") else None
        for status in (began, refresh.status):
            if status is None or status in told:
                continue
            told.add(status)
            if kind := events.refresh_kind(status):
                _send(emulator, kind, [group.arn], detail)
    reached = f"checkpoint {refresh.passed}"
    if refresh.paused_until is not None and reached not in told:
        told.add(reached)
        more = {
            "CheckpointPercentage": str(refresh.checkpoint()),
            "CheckpointDelay": str(int(refresh.preferences.checkpoint_delay_s)),
        }
        kind = "EC2 Auto Scaling Instance Refresh Checkpoint Reached"
        _send(emulator, kind, [group.arn], {**detail, **more})


def _send(emulator: Emulator, kind: str, resources: list[str], detail: Mapping[str, Any]) -> None:
    publish(emulator, events.SOURCE, kind, resources, detail)
