"""Run Command: a shell script on instances, as root, with a deadline.

AWS-RunShellScript: https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command.html
An answer is cut at 24,000 characters (GetCommandInvocation).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sglctl.errors import SglctlError, WaitTimeoutError

_RUNNING = {"Pending", "InProgress", "Delayed", "Cancelling"}
#: SendCommand takes at most 50 instance ids.
_BATCH = 50
_POLL_S = 0.3
#: AWS registers an invocation a moment after it accepted the command.
_REGISTER_S = 10


@dataclass(frozen=True)
class ScriptResult:
    """What a script did on one instance; `status` is Run Command's (Success, Failed, TimedOut…)."""

    instance_id: str
    status: str
    exit_code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.status == "Success"


class RunCommand:
    """Sends scripts and waits for their end."""

    def __init__(
        self,
        ssm: Any,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ssm = ssm
        self._clock = clock
        self._sleep = sleep

    def run(
        self, instance_ids: Sequence[str], script: str, *, timeout_s: float
    ) -> dict[str, ScriptResult]:
        """Run a script on instances at once; a result for each, failed ones too.

        Raises SglctlError when an instance does not take commands, WaitTimeoutError when one
        has not ended `timeout_s` (and a little) after the start.
        """
        results: dict[str, ScriptResult] = {}
        for start in range(0, len(instance_ids), _BATCH):
            batch = list(instance_ids[start : start + _BATCH])
            command = self._send(batch, script, timeout_s)
            deadline = self._clock() + timeout_s + _REGISTER_S
            for instance_id in batch:
                results[instance_id] = self._wait(command, instance_id, deadline)
        return results

    def _send(self, instance_ids: list[str], script: str, timeout_s: float) -> str:
        try:
            answer = self._ssm.send_command(
                InstanceIds=instance_ids,
                DocumentName="AWS-RunShellScript",
                Parameters={
                    "commands": [script],
                    "executionTimeout": [str(max(1, round(timeout_s)))],
                },
                TimeoutSeconds=60,
                Comment="sglctl",
            )
        except self._ssm.exceptions.InvalidInstanceId as error:
            raise SglctlError(
                f"Run Command does not reach {', '.join(instance_ids)}",
                hint="the instance must be running, with the SSM agent and its instance profile",
            ) from error
        return str(answer["Command"]["CommandId"])

    def _wait(self, command: str, instance_id: str, deadline: float) -> ScriptResult:
        while self._clock() < deadline:
            try:
                answer = self._ssm.get_command_invocation(CommandId=command, InstanceId=instance_id)
            except self._ssm.exceptions.InvocationDoesNotExist:
                self._sleep(_POLL_S)
                continue
            if answer["Status"] not in _RUNNING:
                return ScriptResult(
                    instance_id,
                    answer["Status"],
                    int(answer.get("ResponseCode", -1)),
                    answer.get("StandardOutputContent", ""),
                    answer.get("StandardErrorContent", ""),
                )
            self._sleep(_POLL_S)
        raise WaitTimeoutError(
            f"the command on {instance_id} did not end in time",
            hint=f"look at the host: sglctl status, then its log (Run Command {command})",
        )
