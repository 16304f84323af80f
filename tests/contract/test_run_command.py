"""Run Command runs."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from sglocal.hosts.driver import CommandResult


def send(cloud: Any, *lines: str, **given: Any) -> tuple[str, str]:
    """A command on one running instance: command id and instance id."""
    describe = cloud.group()
    instance_id = cloud.settle(describe, 1)[0]
    answer = cloud.client("ssm").send_command(
        InstanceIds=[instance_id],
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": list(lines), **given},
    )
    return str(answer["Command"]["CommandId"]), instance_id


def invocation(cloud: Any, command_id: str, instance_id: str) -> dict[str, Any]:
    return dict(
        cloud.client("ssm").get_command_invocation(CommandId=command_id, InstanceId=instance_id)
    )


def ended(cloud: Any, command_id: str, instance_id: str) -> dict[str, Any]:
    def final() -> dict[str, Any] | None:
        answer = invocation(cloud, command_id, instance_id)
        return None if answer["Status"] in ("Pending", "InProgress") else answer

    return dict(cloud.until(final))


def test_a_script_runs_on_the_host_and_its_output_is_kept(cloud: Any) -> None:
    sent = send(cloud, "echo one", "echo two", workingDirectory=["/srv"])
    answer = ended(cloud, *sent)
    script = "cd '/srv' || exit 1\necho one\necho two\n"
    assert (answer["Status"], answer["ResponseCode"]) == ("Success", 0)
    assert answer["StandardOutputContent"] == f"ran {script}"


@pytest.mark.parametrize(("returncode", "status"), [(3, "Failed"), (124, "TimedOut")])
def test_a_script_that_fails_says_how(cloud: Any, returncode: int, status: str) -> None:
    cloud.driver.script_result = lambda _id, _script: CommandResult(returncode, "", "why")
    answer = ended(cloud, *send(cloud, "false"))
    assert (answer["Status"], answer["ResponseCode"]) == (status, returncode)
    assert answer["StandardErrorContent"] == "why"


def test_a_command_reaches_the_instances_of_a_tag_only(cloud: Any) -> None:
    tag = {"Key": "sglctl:role", "Value": "worker", "PropagateAtLaunch": True}
    wanted = cloud.group(Tags=[tag])
    other = cloud.group("others")
    worker = cloud.settle(wanted, 1)[0]
    cloud.settle(other, 1)
    answer = cloud.client("ssm").send_command(
        Targets=[{"Key": "tag:sglctl:role", "Values": ["worker"]}],
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": ["true"]},
    )["Command"]
    listed = cloud.client("ssm").list_command_invocations(CommandId=answer["CommandId"])
    assert [i["InstanceId"] for i in listed["CommandInvocations"]] == [worker]


def test_a_command_to_no_host_is_refused(cloud: Any) -> None:
    with pytest.raises(ClientError, match="InvalidInstanceId"):
        cloud.client("ssm").send_command(
            InstanceIds=["i-0123456789abcdef0"],
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": ["true"]},
        )


def test_running_hosts_are_listed_as_online(cloud: Any) -> None:
    instance_id = cloud.settle(cloud.group(), 1)[0]
    answer = cloud.client("ssm").describe_instance_information(
        Filters=[{"Key": "PingStatus", "Values": ["Online"]}]
    )
    found = [(i["InstanceId"], i["PingStatus"]) for i in answer["InstanceInformationList"]]
    assert found == [(instance_id, "Online")]
