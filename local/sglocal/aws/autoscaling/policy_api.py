"""PutScalingPolicy, DescribePolicies, ExecutePolicy, DeletePolicy.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribePolicies.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_ExecutePolicy.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeletePolicy.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from sglocal.aws.autoscaling import causes, policies, policy_alarms, policy_run
from sglocal.aws.autoscaling.lookup import find_group
from sglocal.aws.autoscaling.pages import page
from sglocal.aws.autoscaling.policies import SIMPLE, STEP, TRACKING, Policy
from sglocal.aws.autoscaling.records import record_of
from sglocal.aws.emulator import Emulator

LONGEST_PAGE = 100


def install(emulator: Emulator) -> None:
    """Replace moto's policies, and watch cooldowns."""
    calls = PolicyCalls(emulator)
    wrap = emulator.patches.wrap
    wrap(AutoScalingResponse, "put_scaling_policy", _handler(calls.put))
    wrap(AutoScalingResponse, "describe_policies", _handler(calls.describe))
    wrap(AutoScalingResponse, "execute_policy", _handler(calls.execute))
    wrap(AutoScalingResponse, "delete_policy", _handler(calls.delete))
    emulator.every("cooldowns", emulator.timing.reconcile_s, calls.watch_cooldowns)


def _handler(method: Callable[[Any], ActionResult]) -> Callable[[Any], Any]:
    """A method of another class in the place of one of moto's."""
    return lambda _original: lambda response: method(response)


class PolicyCalls:
    """Handlers of the four calls."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def put(self, response: Any) -> ActionResult:
        """PutScalingPolicy: also the alarms of target tracking."""
        backend, given = response.autoscaling_backend, response._get_params()
        group = find_group(backend, given.get("AutoScalingGroupName"))
        before = policies.find(backend, group.name, given["PolicyName"])
        policy = policies.make(backend, given)
        stale = before.alarms if before is not None else []
        if policy.kind == TRACKING:
            policy_alarms.replace(self.emulator, policy, stale)
        else:
            self.emulator.backend("cloudwatch").delete_alarms(stale)
        backend.policies[policy.arn] = policy
        own = [self._alarm(name) for name in policy.alarms]
        return ActionResult({"PolicyARN": policy.arn, "Alarms": own})

    def describe(self, response: Any) -> ActionResult:
        """DescribePolicies: of one group or all, by name or ARN and by type."""
        name = response._get_param("AutoScalingGroupName")
        names = response._get_param("PolicyNames", []) or []
        kinds = response._get_param("PolicyTypes", []) or []
        found = [
            policy
            for policy in response.autoscaling_backend.policies.values()
            if name in (None, policy.group)
            and (not names or policy.name in names or policy.arn in names)
            and (not kinds or policy.kind in kinds)
        ]
        shown, token = page(response, found, longest=LONGEST_PAGE)
        answers = [policy.answer(self._alarms(policy)) for policy in shown]
        return ActionResult({"ScalingPolicies": answers, "NextToken": token})

    def execute(self, response: Any) -> ActionResult:
        """ExecutePolicy: simple policies and steps, whatever an alarm says."""
        policy = self._found(response)
        group = find_group(response.autoscaling_backend, policy.group)
        wanted = self._wanted(response, policy, group)
        before = int(group.desired_capacity or 0)
        cause = causes.executed(self.emulator.clock.now(), policy.name, before, wanted)
        policy_run.set_desired(self.emulator, group, wanted, cause)
        return EmptyResult()

    def _wanted(self, response: Any, policy: Policy, group: Any) -> int:
        value = response._get_param("MetricValue")
        threshold = response._get_param("BreachThreshold")
        if policy.kind == SIMPLE:
            honor = response._get_bool_param("HonorCooldown", False)
            if honor and policy_run.cooling(self.emulator, group):
                raise AutoscalingClientError(
                    "ScalingActivityInProgress",
                    "You cannot execute this policy: a scaling activity or its cooldown is in "
                    "progress.",
                )
            return policy_run.run_simple(self.emulator, group, policy)
        if policy.kind != STEP:
            raise ValidationError(f"A policy of type {policy.kind} cannot be executed.")
        if value is None or threshold is None:
            raise ValidationError("MetricValue and BreachThreshold are required for StepScaling.")
        breach = float(value) - float(threshold)
        wanted = policy_run.run_step(self.emulator, group, policy, breach)
        if wanted is None:
            raise ValidationError(
                f"No step adjustment found for metric value {value} and breach threshold "
                f"{threshold}"
            )
        return wanted

    def delete(self, response: Any) -> ActionResult:
        """DeletePolicy: with it the alarms of target tracking, or the action of others."""
        policy_alarms.delete_policy(self.emulator, self._found(response))
        return EmptyResult()

    def watch_cooldowns(self) -> None:
        """A cooldown begins when nothing is under way any more, asked for or not."""
        with self.emulator.lock:
            for group in self.emulator.autoscaling.autoscaling_groups.values():
                if record_of(group).cooldown_s is not None:
                    policy_run.cooling(self.emulator, group)

    def _found(self, response: Any) -> Policy:
        group = response._get_param("AutoScalingGroupName")
        named = response._get_param("PolicyName")
        policy = policies.find(response.autoscaling_backend, group, named)
        if policy is None:
            raise ValidationError(f"PolicyName not found: {named}")
        return policy

    def _alarms(self, policy: Policy) -> list[dict[str, str]]:
        """Every alarm with the policy among its actions."""
        return [self._alarm(name) for name in policy_alarms.naming(self.emulator, policy)]

    def _alarm(self, name: str) -> dict[str, str]:
        alarm = self.emulator.backend("cloudwatch").alarms[name]
        return {"AlarmName": name, "AlarmARN": alarm.alarm_arn}
