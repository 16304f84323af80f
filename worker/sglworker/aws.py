"""The few AWS calls an agent makes: its fleet's document, and its own lifecycle hooks.

boto3 is slow to import and blocks, so it is imported on first use and runs in threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sglworker.errors import UnreachableError

Hook = Literal["launch", "terminate"]
Result = Literal["CONTINUE", "ABANDON"]
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Membership:
    """The instance's place in its Auto Scaling group."""

    group: str
    lifecycle_state: str


class NoActionError(UnreachableError):
    """There is no lifecycle action to complete: it was completed, or ran out."""


def parameter_name(environment: str, fleet: str) -> str:
    return f"/sglctl/{environment}/fleets/{fleet}/worker"


class Aws:
    """Every call raises UnreachableError when AWS refuses it or does not answer."""

    def __init__(self, region: str, instance_id: str) -> None:
        self._region = region
        self._instance_id = instance_id
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    async def fleet_document(self, environment: str, fleet: str) -> str:
        """The JSON of the fleet's SSM parameter."""
        name = parameter_name(environment, fleet)
        answer = await self._call(
            f"SSM parameter {name}", lambda: self._client("ssm").get_parameter(Name=name)
        )
        return str(answer["Parameter"]["Value"])

    async def membership(self) -> Membership | None:
        """None when the instance is in no group (yet)."""
        ids = [self._instance_id]
        answer = await self._call(
            "DescribeAutoScalingInstances",
            lambda: self._client("autoscaling").describe_auto_scaling_instances(InstanceIds=ids),
        )
        found = answer["AutoScalingInstances"]
        if not found:
            return None
        return Membership(found[0]["AutoScalingGroupName"], found[0]["LifecycleState"])

    async def complete(self, group: str, hook: Hook, result: Result) -> None:
        """Complete a hook of this instance. Raises NoActionError when there is none to complete."""
        await self._call(
            f"CompleteLifecycleAction {hook} of {group}",
            lambda: self._client("autoscaling").complete_lifecycle_action(
                LifecycleHookName=hook,
                AutoScalingGroupName=group,
                InstanceId=self._instance_id,
                LifecycleActionResult=result,
            ),
        )

    async def heartbeat(self, group: str, hook: Hook) -> None:
        """Give the hook another heartbeat timeout."""
        await self._call(
            f"RecordLifecycleActionHeartbeat {hook} of {group}",
            lambda: self._client("autoscaling").record_lifecycle_action_heartbeat(
                LifecycleHookName=hook, AutoScalingGroupName=group, InstanceId=self._instance_id
            ),
        )

    async def set_unhealthy(self) -> None:
        """Tell the group to replace this instance now, grace period or not.

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetInstanceHealth.html
        """
        await self._call(
            "SetInstanceHealth Unhealthy",
            lambda: self._client("autoscaling").set_instance_health(
                InstanceId=self._instance_id,
                HealthStatus="Unhealthy",
                ShouldRespectGracePeriod=False,
            ),
        )

    async def _call(self, what: str, call: Callable[[], _Answer]) -> _Answer:
        return await asyncio.to_thread(_translated, what, call)

    def _client(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        with self._lock:  # making clients is not thread-safe
            if service not in self._clients:
                config = Config(
                    connect_timeout=3,
                    read_timeout=10,
                    retries={"mode": "standard", "total_max_attempts": 3},
                )
                self._clients[service] = boto3.client(
                    service, region_name=self._region, config=config
                )
            return self._clients[service]


def _translated(what: str, call: Callable[[], _Answer]) -> _Answer:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call()
    except ClientError as error:
        message = str(error)
        if "No active Lifecycle Action" in message:
            raise NoActionError(f"{what}: {message}") from error
        raise UnreachableError(f"{what}: {message}") from error
    except (BotoCoreError, OSError) as error:
        raise UnreachableError(f"{what}: {error}") from error
