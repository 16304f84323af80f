"""Run Command that runs: AWS-RunShellScript on real hosts.

moto answers Success at once and runs nothing.
https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html
https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html
https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial
from typing import Any

from moto.core.responses import ActionResult
from moto.ssm.exceptions import SSMException
from moto.ssm.models import Command
from moto.ssm.responses import SimpleSystemManagerResponse

from sglocal.aws.emulator import Emulator
from sglocal.aws.host_spec import tags_of
from sglocal.aws.instances import DRIVER_ERRORS, InstanceHosts

log = logging.getLogger(__name__)

DOCUMENT = "AWS-RunShellScript"
PLUGIN = "aws:runShellScript"
DEFAULT_TIMEOUT_S = 3600
# Characters of output that GetCommandInvocation returns.
STDOUT_KEPT, STDERR_KEPT = 24_000, 8_000
# Exit status of a script that its time limit ended (as GNU timeout reports it).
TIMED_OUT = 124
FINAL = ("Success", "Failed", "TimedOut", "Cancelled")


def install(emulator: Emulator, hosts: InstanceHosts) -> None:
    """Execute commands, and list the hosts that can."""
    calls = RunCommand(emulator, hosts)
    patches = emulator.patches
    patches.wrap(SimpleSystemManagerResponse, "send_command", calls.wrap_send)
    patches.wrap(Command, "response_object", _with_progress)
    # moto sends a command without targets to every instance there is; ours names them before.
    patches.wrap(Command, "_get_instance_ids_from_targets", lambda _: lambda _self: [])
    patches.set(SimpleSystemManagerResponse, "describe_instance_information", calls.describe())
    patches.set(SimpleSystemManagerResponse, "list_command_invocations", calls.list_invocations())


def script_of(parameters: dict[str, list[str]]) -> str:
    """The shell script of a command's parameters. Raises SSMException when there is none."""
    commands = parameters.get("commands") or []
    if not any(line.strip() for line in commands):
        raise SSMException("InvalidParameters", "Parameters.commands has no command")
    folder = (parameters.get("workingDirectory") or [""])[0]
    lines = [f"cd '{folder}' || exit 1"] if folder else []
    return "\n".join([*lines, *commands]) + "\n"


def outcome(returncode: int) -> str:
    """The invocation's status for an exit status."""
    if returncode == TIMED_OUT:
        return "TimedOut"
    return "Success" if returncode == 0 else "Failed"


def overall(statuses: list[str]) -> str:
    """The command's status from its invocations'."""
    if not statuses or any(s == "InProgress" for s in statuses):
        return "InProgress" if statuses else "Success"
    if any(s == "Pending" for s in statuses):
        return "Pending"
    for status in ("TimedOut", "Failed", "Cancelled"):
        if status in statuses:
            return status
    return "Success"


def _with_progress(original: Any) -> Any:
    def response_object(command: Any) -> dict[str, Any]:
        answer: dict[str, Any] = original(command)
        statuses = [i["Status"] for i in command.invocations]
        answer["Status"] = answer["StatusDetails"] = overall(statuses)
        answer["TargetCount"] = len(statuses)
        answer["CompletedCount"] = sum(s in FINAL for s in statuses)
        answer["ErrorCount"] = sum(s in ("Failed", "TimedOut") for s in statuses)
        return answer

    return response_object


class RunCommand:
    """Sends scripts to hosts."""

    def __init__(self, emulator: Emulator, hosts: InstanceHosts) -> None:
        self.emulator = emulator
        self.hosts = hosts

    def wrap_send(self, _original: Any) -> Any:
        """SendCommand: Pending now; the script runs on each host by itself."""

        def send_command(response: Any) -> ActionResult:
            document = response._get_param("DocumentName")
            if document != DOCUMENT:
                raise SSMException(
                    "InvalidDocument", f"sglocal runs {DOCUMENT} only, not {document}"
                )
            parameters = response._get_param("Parameters", {})
            script = script_of(parameters)
            ids = self._targets(response)
            limit = float((parameters.get("executionTimeout") or [DEFAULT_TIMEOUT_S])[0])
            command = self._record(response, ids, parameters)
            for invocation in command.invocations:
                invocation.update(_blank("Pending"))
                key = f"command {command.command_id} {invocation['InstanceId']}"
                self.emulator.jobs.submit(key, partial(self._run, invocation, script, limit))
            return ActionResult({"Command": command.response_object()})

        return send_command

    def _record(self, response: Any, ids: list[str], parameters: dict[str, list[str]]) -> Any:
        """moto's command, with every instance named."""
        return response.ssm_backend.send_command(
            comment=response._get_param("Comment", ""),
            document_name=DOCUMENT,
            timeout_seconds=response._get_int_param("TimeoutSeconds"),
            instance_ids=ids,
            max_concurrency=response._get_param("MaxConcurrency", "50"),
            max_errors=response._get_param("MaxErrors", "0"),
            notification_config=response._get_param("NotificationConfig"),
            output_s3_bucket_name=response._get_param("OutputS3BucketName", ""),
            output_s3_key_prefix=response._get_param("OutputS3KeyPrefix", ""),
            output_s3_region=response._get_param("OutputS3Region", ""),
            parameters=parameters,
            service_role_arn=response._get_param("ServiceRoleArn", ""),
            targets=[],
        )

    def _targets(self, response: Any) -> list[str]:
        ids = list(response._get_param("InstanceIds", []) or [])
        for target in response._get_param("Targets", []) or []:
            ids += self._by_target(target["Key"], target["Values"])
        ids = list(dict.fromkeys(ids))
        missing = [i for i in ids if not self._managed(i)]
        if missing:
            raise SSMException(
                "InvalidInstanceId",
                f"Instances [{', '.join(missing)}] not in a valid state for account "
                f"{self.emulator.settings.account}",
            )
        return ids

    def _by_target(self, key: str, values: list[str]) -> list[str]:
        if key == "InstanceIds":
            return list(values)
        if not key.startswith("tag:"):
            raise SSMException("InvalidTarget", f"unknown target {key}; use InstanceIds or tag:…")
        wanted = key.removeprefix("tag:")
        return [i.id for i in self._managed_instances() if tags_of(i).get(wanted) in values]

    def _managed(self, instance_id: str) -> bool:
        instance = self.emulator.instance(instance_id)
        return bool(instance and self.hosts.has_host(instance_id) and instance.state == "running")

    def _managed_instances(self) -> list[Any]:
        found = [self.emulator.instance(i) for i in sorted(self.hosts.ids)]
        return [i for i in found if i is not None and i.state == "running"]

    def _run(self, invocation: dict[str, Any], script: str, limit_s: float) -> None:
        instance_id = invocation["InstanceId"]
        started = datetime.now(UTC)
        with self.emulator.lock:
            invocation.update(_blank("InProgress"), ExecutionStartDateTime=_stamp(started))
        try:
            result = self.emulator.driver.run(instance_id, script, timeout_s=limit_s)
        except DRIVER_ERRORS as error:
            log.warning("command on %s: %s", instance_id, error)
            self._finish(invocation, "Failed", -1, "", str(error), started)
            return
        status = outcome(result.returncode)
        self._finish(invocation, status, result.returncode, result.stdout, result.stderr, started)

    def _finish(
        self,
        invocation: dict[str, Any],
        status: str,
        code: int,
        stdout: str,
        stderr: str,
        started: datetime,
    ) -> None:
        ended = datetime.now(UTC)
        with self.emulator.lock:
            invocation.update(
                Status=status,
                StatusDetails=status,
                ResponseCode=code,
                StandardOutputContent=stdout[:STDOUT_KEPT],
                StandardErrorContent=stderr[:STDERR_KEPT],
                ExecutionEndDateTime=_stamp(ended),
                ExecutionElapsedTime=f"PT{(ended - started).total_seconds():.3f}S",
            )

    def describe(self) -> Any:
        """DescribeInstanceInformation: running hosts are Online."""

        def describe_instance_information(response: Any) -> ActionResult:
            found = self._managed_instances()
            for item in response._get_param("Filters", []) or []:
                found = _filtered(found, item["Key"], item["Values"])
            for item in response._get_param("InstanceInformationFilterList", []) or []:
                found = _filtered(found, item["key"], item["valueSet"])
            return ActionResult({"InstanceInformationList": [_information(i) for i in found]})

        return describe_instance_information

    def list_invocations(self) -> Any:
        """ListCommandInvocations of one command or instance."""

        def list_command_invocations(response: Any) -> ActionResult:
            identifier = response._get_param("CommandId")
            instance_id = response._get_param("InstanceId")
            details = response._get_bool_param("Details", False)
            listed = [
                _listed(command, invocation, details)
                for command in response.ssm_backend._commands
                if identifier in (None, command.command_id)
                for invocation in command.invocations
                if instance_id in (None, invocation["InstanceId"])
            ]
            return ActionResult({"CommandInvocations": listed})

        return list_command_invocations


def _listed(command: Any, invocation: dict[str, Any], details: bool) -> dict[str, Any]:
    answer = {
        "CommandId": command.command_id,
        "InstanceId": invocation["InstanceId"],
        "DocumentName": command.document_name,
        "RequestedDateTime": command.requested_date_time,
        "Status": invocation["Status"],
        "StatusDetails": invocation["StatusDetails"],
        "CommandPlugins": [],
    }
    if details:
        plugin = {
            "Name": PLUGIN,
            "Status": invocation["Status"],
            "ResponseCode": invocation["ResponseCode"],
            "Output": invocation["StandardOutputContent"],
        }
        answer["CommandPlugins"] = [plugin]
    return answer


def _blank(status: str) -> dict[str, Any]:
    return {
        "Status": status,
        "StatusDetails": status,
        "ResponseCode": -1,
        "StandardOutputContent": "",
        "StandardErrorContent": "",
        "ExecutionEndDateTime": "",
        "ExecutionElapsedTime": "",
    }


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _filtered(found: list[Any], key: str, values: list[str]) -> list[Any]:
    if key == "InstanceIds":
        return [i for i in found if i.id in values]
    if key == "PingStatus":
        return found if "Online" in values else []
    if key.startswith("tag:"):
        return [i for i in found if tags_of(i).get(key.removeprefix("tag:")) in values]
    raise SSMException("InvalidInstanceInformationFilterValue", f"unknown filter {key}")


def _information(instance: Any) -> dict[str, Any]:
    return {
        "InstanceId": instance.id,
        "PingStatus": "Online",
        "LastPingDateTime": datetime.now(UTC),
        "AgentVersion": "sglocal",
        "IsLatestVersion": True,
        "PlatformType": "Linux",
        "PlatformName": "Debian GNU/Linux",
        "PlatformVersion": "12",
        "ResourceType": "EC2Instance",
        "IPAddress": instance.private_ip,
        "ComputerName": instance.private_dns_name,
    }
