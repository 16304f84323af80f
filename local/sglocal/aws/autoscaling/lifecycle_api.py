"""Lifecycle hooks that hold, and the calls that complete or prolong them.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CompleteLifecycleAction.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RecordLifecycleActionHeartbeat.html
"""

from __future__ import annotations

import logging
from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import LifecycleHook
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from sglocal.aws.autoscaling.hooks import PendingAction, longest_hold_s
from sglocal.aws.autoscaling.lifecycle import LEAVING, State
from sglocal.aws.autoscaling.lookup import find_group
from sglocal.aws.autoscaling.records import all_members
from sglocal.aws.autoscaling.transitions import LAUNCH_TRANSITION, TERMINATE_TRANSITION
from sglocal.aws.emulator import Emulator

# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutLifecycleHook.html
TRANSITIONS = (LAUNCH_TRANSITION, TERMINATE_TRANSITION)
DEFAULT_TIMEOUT_S = 3600

log = logging.getLogger(__name__)


def install(emulator: Emulator) -> None:
    """Add the calls that moto lacks, and keep hooks as they were declared."""
    calls = LifecycleCalls(emulator)
    patches = emulator.patches
    patches.wrap(AutoScalingResponse, "put_lifecycle_hook", lambda _: _put_hook)
    patches.wrap(AutoScalingResponse, "delete_lifecycle_hook", calls.wrap_delete)
    patches.set(AutoScalingResponse, "complete_lifecycle_action", calls.complete())
    patches.set(AutoScalingResponse, "record_lifecycle_action_heartbeat", calls.heartbeat())


def put_hook(backend: Any, group: str, given: dict[str, Any]) -> None:
    """Create or update a hook from the API's own keys; absent keys keep their value.

    Raises ValidationError for an unknown transition or result.
    """
    name = given["LifecycleHookName"]
    hook = backend.lifecycle_hooks.get(f"{group}_{name}")
    transition = given.get("LifecycleTransition") or getattr(hook, "lifecycle_transition", None)
    if transition not in TRANSITIONS:
        raise ValidationError(f"Lifecycle hook {name}: unknown LifecycleTransition {transition}")
    before = getattr(hook, "heartbeat_timeout", None) or DEFAULT_TIMEOUT_S
    timeout = int(given.get("HeartbeatTimeout") or before)
    result = given.get("DefaultResult") or getattr(hook, "default_result", "ABANDON")
    if result not in ("CONTINUE", "ABANDON"):
        raise ValidationError(f"Lifecycle hook {name}: DefaultResult must be CONTINUE or ABANDON")
    made = LifecycleHook(name, group, transition, timeout, result)
    for key, attribute in (
        ("RoleARN", "role_arn"),
        ("NotificationTargetARN", "notification_target_arn"),
        ("NotificationMetadata", "notification_metadata"),
    ):
        # moto invents ARNs here, which Terraform then tries to remove for ever.
        setattr(made, attribute, given.get(key) or getattr(hook, attribute, None))
    made.global_timeout = longest_hold_s(timeout)
    backend.lifecycle_hooks[f"{group}_{name}"] = made


def _put_hook(response: Any) -> ActionResult:
    group = response._get_param("AutoScalingGroupName")
    find_group(response.autoscaling_backend, group)
    put_hook(response.autoscaling_backend, group, response._get_params())
    return EmptyResult()


class LifecycleCalls:
    """CompleteLifecycleAction and RecordLifecycleActionHeartbeat."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def complete(self) -> Any:
        """CompleteLifecycleAction, by token or instance id."""

        def complete_lifecycle_action(response: Any) -> ActionResult:
            result = response._get_param("LifecycleActionResult")
            if result not in ("CONTINUE", "ABANDON"):
                raise ValidationError("LifecycleActionResult must be CONTINUE or ABANDON")
            action = self._find(response)
            action.result = result
            who = response._get_param("InstanceId") or action.token
            log.info("hook %s of %s completed with %s", action.hook, who, result)
            self.emulator.wake()
            return EmptyResult()

        return complete_lifecycle_action

    def wrap_delete(self, original: Any) -> Any:
        """DeleteLifecycleHook: waiting instances go on (launch: ABANDON, terminate: CONTINUE).

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteLifecycleHook.html
        """

        def delete_lifecycle_hook(response: Any) -> ActionResult:
            name = response._get_param("AutoScalingGroupName")
            group = find_group(response.autoscaling_backend, name)
            hook = response._get_param("LifecycleHookName")
            for state in all_members(group):
                action = state.sgl.actions.get(hook)
                if action is not None and action.result is None:
                    leaving = State(state.lifecycle_state) in LEAVING
                    action.result = "CONTINUE" if leaving else "ABANDON"
            self.emulator.wake()
            answer: ActionResult = original(response)
            return answer

        return delete_lifecycle_hook

    def heartbeat(self) -> Any:
        """RecordLifecycleActionHeartbeat, by token or instance id."""

        def record_lifecycle_action_heartbeat(response: Any) -> ActionResult:
            self._find(response).heartbeat(self.emulator.clock())
            return EmptyResult()

        return record_lifecycle_action_heartbeat

    def _find(self, response: Any) -> PendingAction:
        group = find_group(
            response.autoscaling_backend, response._get_param("AutoScalingGroupName")
        )
        hook = response._get_param("LifecycleHookName")
        token = response._get_param("LifecycleActionToken")
        instance_id = response._get_param("InstanceId")
        for state in all_members(group):
            action: PendingAction | None = state.sgl.actions.get(hook)
            if action is None or action.result is not None:
                continue
            if (token and action.token == token) or (
                not token and state.instance.id == instance_id
            ):
                return action
        wanted = f"token {token}" if token else f"instance ID {instance_id}"
        raise ValidationError(f"No active Lifecycle Action found with {wanted}")
