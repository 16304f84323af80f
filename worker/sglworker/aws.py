"""The few AWS calls an agent makes: its fleet's document, and its own lifecycle hooks."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from sglworker.errors import UnreachableError

Hook = Literal["launch", "terminate"]
Result = Literal["CONTINUE", "ABANDON"]
#: The process ends so long after its last call; longer than between two heartbeats.
IDLE_S = 60.0
#: Import, two attempts and their pause.
_CALL_TIMEOUT_S = 45.0


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
        self._caller = Caller(region)
        self._instance_id = instance_id

    async def fleet_document(self, environment: str, fleet: str) -> str:
        """The JSON of the fleet's SSM parameter."""
        name = parameter_name(environment, fleet)
        answer = await self._call(f"SSM parameter {name}", "ssm", "get_parameter", Name=name)
        return str(answer["Parameter"]["Value"])

    async def membership(self) -> Membership | None:
        """None when the instance is in no group (yet)."""
        ids = [self._instance_id]
        answer = await self._call(
            "DescribeAutoScalingInstances",
            "autoscaling",
            "describe_auto_scaling_instances",
            InstanceIds=ids,
        )
        found = answer["AutoScalingInstances"]
        if not found:
            return None
        return Membership(found[0]["AutoScalingGroupName"], found[0]["LifecycleState"])

    async def complete(self, group: str, hook: Hook, result: Result) -> None:
        """Complete a hook of this instance. Raises NoActionError when there is none to complete."""
        await self._call(
            f"CompleteLifecycleAction {hook} of {group}",
            "autoscaling",
            "complete_lifecycle_action",
            LifecycleHookName=hook,
            AutoScalingGroupName=group,
            InstanceId=self._instance_id,
            LifecycleActionResult=result,
        )

    async def heartbeat(self, group: str, hook: Hook) -> None:
        """Give the hook another heartbeat timeout."""
        await self._call(
            f"RecordLifecycleActionHeartbeat {hook} of {group}",
            "autoscaling",
            "record_lifecycle_action_heartbeat",
            LifecycleHookName=hook,
            AutoScalingGroupName=group,
            InstanceId=self._instance_id,
        )

    async def set_unhealthy(self) -> None:
        """Tell the group to replace this instance now, grace period or not.

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetInstanceHealth.html
        """
        await self._call(
            "SetInstanceHealth Unhealthy",
            "autoscaling",
            "set_instance_health",
            InstanceId=self._instance_id,
            HealthStatus="Unhealthy",
            ShouldRespectGracePeriod=False,
        )

    async def _call(self, what: str, service: str, operation: str, **arguments: Any) -> Any:
        request = {"service": service, "operation": operation, "arguments": arguments}
        answer = await self._caller.ask(what, request)
        if "answer" in answer:
            return answer["answer"]
        kind = NoActionError if answer["no_action"] else UnreachableError
        raise kind(f"{what}: {answer['error']}")

    async def close(self) -> None:
        await self._caller.close()


class Caller:
    """A process with boto3 in it, there only while calls are made.

    boto3 costs 24 MB (of 78), and an agent makes no call for days.
    """

    def __init__(self, region: str) -> None:
        self._region = region
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def ask(self, what: str, request: dict[str, Any]) -> dict[str, Any]:
        """Its answer. Raises UnreachableError when it ends or takes too long."""
        async with self._lock:
            self._keep()
            try:
                async with asyncio.timeout(_CALL_TIMEOUT_S):
                    line = await self._exchange(json.dumps(request) + "\n")
                answer: dict[str, Any] = json.loads(line)
            except (OSError, TimeoutError, ValueError) as error:
                await self._end()
                raise UnreachableError(f"{what}: {str(error) or 'no answer'}") from error
            except asyncio.CancelledError:
                await self._end()  # its answer would be taken for the next call's
                raise
            self._release()
            return answer

    async def close(self) -> None:
        async with self._lock:
            self._keep()
            await self._end()

    async def _exchange(self, line: str) -> bytes:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sglworker.aws_call", self._region,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise OSError("no pipes")
        pipe_in.write(line.encode())
        await pipe_in.drain()
        return await pipe_out.readline()

    def _keep(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _release(self) -> None:
        def end() -> None:
            task = loop.create_task(self.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(IDLE_S, end)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.kill()  # it holds nothing
        await process.wait()
