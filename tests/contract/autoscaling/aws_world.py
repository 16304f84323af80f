"""Real AWS as a world for cases: smallest instances, default VPC, everything removed at the end.

Never run by the suite itself; needs credentials and SGLCTL_CONTRACT_AWS=1.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError
from group_request import group_request
from listening import silence

# Cheapest types of the region's Amazon Linux image (arm64 and x86_64 differ by cents a month).
INSTANCE_TYPE = "t4g.nano"
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
POLL_S = 5.0
CLEAN_S = 900.0


class AwsWorld:
    """An account; `name` is the group's and the launch template's."""

    emulated = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client with the environment's credentials and region."""
        if service not in self._clients:
            self._clients[service] = boto3.client(service)
        return self._clients[service]

    def clock(self) -> float:
        return time.monotonic()

    def advance(self, seconds: float) -> None:
        """Wait; polls are POLL_S apart at least."""
        time.sleep(max(seconds, POLL_S))

    def create_group(self, name: str, given: Mapping[str, Any]) -> None:
        """A launch template and a group on it in two zones of the default VPC."""
        image = self.client("ssm").get_parameter(Name=IMAGE)["Parameter"]["Value"]
        data = {"ImageId": image, "InstanceType": INSTANCE_TYPE}
        made = self.client("ec2").create_launch_template(
            LaunchTemplateName=name, LaunchTemplateData=data
        )
        request, pool = group_request(
            name, given, made["LaunchTemplate"]["LaunchTemplateId"], self._subnets(given)
        )
        scaling = self.client("autoscaling")
        scaling.create_auto_scaling_group(**request)
        if pool is not None:
            scaling.put_warm_pool(AutoScalingGroupName=name, **pool)

    def _subnets(self, given: Mapping[str, Any]) -> list[str]:
        found = self.client("ec2").describe_subnets(
            Filters=[{"Name": "default-for-az", "Values": ["true"]}]
        )["Subnets"]
        found.sort(key=lambda subnet: subnet["AvailabilityZone"])
        return [subnet["SubnetId"] for subnet in found[: given.get("zones", 2)]]

    def new_template_version(self, name: str, *, used: bool) -> None:
        """Another version with the same content; `used`: for the group's next launches."""
        ec2 = self.client("ec2")
        versions = ec2.describe_launch_template_versions(LaunchTemplateName=name)
        data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)
        if not used:
            return
        self.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"},
        )

    def metadata(self, instance_id: str, path: str) -> str | None:
        raise NotImplementedError("readable on the instance only")

    def fault(self, given: Mapping[str, Any]) -> None:
        raise NotImplementedError("AWS takes no faults: mark the case emulator_only")

    def close(self) -> None:
        """Remove the group by force, wait until it is gone, remove what else it made."""
        scaling = self.client("autoscaling")
        try:
            scaling.delete_auto_scaling_group(AutoScalingGroupName=self.name, ForceDelete=True)
        except ClientError as error:
            if "not found" not in str(error):
                raise
        deadline = self.clock() + CLEAN_S
        while scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])[
            "AutoScalingGroups"
        ]:
            if self.clock() > deadline:
                raise TimeoutError(f"{self.name} still exists: remove it by hand")
            time.sleep(POLL_S)
        silence(self.client, self.name)
        self.client("cloudwatch").delete_alarms(AlarmNames=[self.name])
        self.client("ec2").delete_launch_template(LaunchTemplateName=self.name)
