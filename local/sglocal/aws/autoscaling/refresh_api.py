"""StartInstanceRefresh, DescribeInstanceRefreshes, CancelInstanceRefresh, RollbackInstanceRefresh.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StartInstanceRefresh.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeInstanceRefreshes.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CancelInstanceRefresh.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RollbackInstanceRefresh.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from sglocal.aws.autoscaling import configuration, refreshing
from sglocal.aws.autoscaling.lookup import find_group
from sglocal.aws.autoscaling.pages import page
from sglocal.aws.autoscaling.records import record_of
from sglocal.aws.autoscaling.refresh import Refresh, parse_preferences
from sglocal.aws.emulator import Emulator

LONGEST_PAGE = 100


def install(emulator: Emulator) -> None:
    """Add the calls; moto has none of them."""
    calls = RefreshCalls(emulator)
    patches = emulator.patches
    patches.set(AutoScalingResponse, "start_instance_refresh", calls.start())
    patches.set(AutoScalingResponse, "describe_instance_refreshes", _describe)
    patches.set(AutoScalingResponse, "cancel_instance_refresh", calls.cancel())
    patches.set(AutoScalingResponse, "rollback_instance_refresh", calls.roll_back())


def _describe(response: Any) -> ActionResult:
    """DescribeInstanceRefreshes: the newest first."""
    name = response._get_param("AutoScalingGroupName")
    group = find_group(response.autoscaling_backend, name)
    wanted = set(response._get_param("InstanceRefreshIds", []) or [])
    found = [r for r in record_of(group).refreshes if not wanted or r.refresh_id in wanted]
    shown, token = page(response, found, longest=LONGEST_PAGE)
    return ActionResult({"InstanceRefreshes": [r.answer() for r in shown], "NextToken": token})


class RefreshCalls:
    """Handlers that begin, end and turn back a refresh."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def start(self) -> Any:
        """StartInstanceRefresh: one at a time for each group."""

        def start_instance_refresh(response: Any) -> ActionResult:
            given = response._get_params()
            group = find_group(response.autoscaling_backend, given["AutoScalingGroupName"])
            if record_of(group).refresh is not None:
                raise AutoscalingClientError(
                    "InstanceRefreshInProgress",
                    "An Instance Refresh is already in progress and blocks the execution of this "
                    "Instance Refresh.",
                )
            if given.get("Strategy", "Rolling") != "Rolling":
                raise ValidationError("sglocal simulates the Rolling strategy only.")
            refresh = self._made(group, given)
            record_of(group).refreshes.appendleft(refresh)
            refreshing.begin(self.emulator, group, refresh)
            self.emulator.wake()
            return ActionResult({"InstanceRefreshId": refresh.refresh_id})

        return start_instance_refresh

    def _made(self, group: Any, given: Mapping[str, Any]) -> Refresh:
        wishes = given.get("Preferences") or {}
        desired_given = given.get("DesiredConfiguration")
        desired = None
        if desired_given:
            desired = configuration.parse(self.emulator, group, desired_given)
        before = configuration.own(group)
        preferences = parse_preferences(group, wishes)
        if preferences.auto_rollback and (desired is None or not before.fixed()):
            raise ValidationError(
                "AutoRollback needs a desired configuration, and a group whose launch template "
                "has a numbered version and no Systems Manager parameter."
            )
        clock = self.emulator.clock
        shown = {**wishes, "MinHealthyPercentage": preferences.min_percent}
        shown["InstanceWarmup"] = int(preferences.warm_up_s)
        return Refresh(
            group.name, preferences, shown, desired, desired_given, before, clock.now(), clock()
        )

    def cancel(self) -> Any:
        """CancelInstanceRefresh: nothing is rolled back."""

        def cancel_instance_refresh(response: Any) -> ActionResult:
            _, refresh = _active(response)
            refresh.wait_for_instances = response._get_bool_param(
                "WaitForTransitioningInstances", True
            )
            refresh.status = "Cancelling"
            self.emulator.wake()
            return ActionResult({"InstanceRefreshId": refresh.refresh_id})

        return cancel_instance_refresh

    def roll_back(self) -> Any:
        """RollbackInstanceRefresh: back to the settings the group still has."""

        def rollback_instance_refresh(response: Any) -> ActionResult:
            group, refresh = _active(response)
            if refresh.desired is None or not refresh.before.fixed():
                raise AutoscalingClientError(
                    "IrreversibleInstanceRefresh",
                    "The instance refresh has no desired configuration, or the group's launch "
                    "template has no numbered version or a Systems Manager parameter.",
                )
            if refresh.rollback is not None or refresh.status == "Cancelling":
                raise AutoscalingClientError(
                    "ActiveInstanceRefreshNotFound",
                    f"The instance refresh {refresh.refresh_id} is {refresh.status}.",
                )
            reason = "Manual rollback: RollbackInstanceRefresh was called."
            refreshing.begin_rollback(self.emulator, group, refresh, reason)
            self.emulator.wake()
            return ActionResult({"InstanceRefreshId": refresh.refresh_id})

        return rollback_instance_refresh


def _active(response: Any) -> tuple[Any, Refresh]:
    name = response._get_param("AutoScalingGroupName")
    group = find_group(response.autoscaling_backend, name)
    refresh: Refresh | None = record_of(group).refresh
    if refresh is None:
        raise AutoscalingClientError(
            "ActiveInstanceRefreshNotFound",
            f"No in progress or pending Instance Refresh found for Auto Scaling group {name}",
        )
    return group, refresh
