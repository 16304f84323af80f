"""What a case sees of its group: AWS's answers, cut down to what is expected of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from botocore.exceptions import ClientError
from listening import received


class World(Protocol):
    """Where a case runs."""

    emulated: bool

    def client(self, service: str) -> Any: ...
    def advance(self, seconds: float) -> None: ...
    def clock(self) -> float: ...
    def create_group(self, name: str, given: Mapping[str, Any]) -> None: ...
    def new_template_version(self, name: str, *, used: bool) -> None: ...
    def metadata(self, instance_id: str, path: str) -> str | None: ...
    def fault(self, given: Mapping[str, Any]) -> None: ...


class Seen:
    """Looks at one group in a world."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.scaling = world.client("autoscaling")
        self._events_so_far: list[dict[str, Any]] = []

    def group(self) -> dict[str, Any]:
        answer = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])
        found: dict[str, Any] = answer["AutoScalingGroups"][0]
        return found

    def members(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.group()["Instances"]
        return found

    def leaving(self) -> list[dict[str, Any]]:
        return [m for m in self.members() if m["LifecycleState"].startswith("Terminating")]

    def warm(self) -> list[dict[str, Any]]:
        answer = self.scaling.describe_warm_pool(AutoScalingGroupName=self.name)
        found: list[dict[str, Any]] = answer["Instances"]
        return found

    def lifecycle(self, instance_id: str) -> str | None:
        answer = self.scaling.describe_auto_scaling_instances(InstanceIds=[instance_id])
        found = answer["AutoScalingInstances"]
        return str(found[0]["LifecycleState"]) if found else None

    def health(self, instance_id: str) -> str | None:
        answer = self.scaling.describe_auto_scaling_instances(InstanceIds=[instance_id])
        found = answer["AutoScalingInstances"]
        return str(found[0]["HealthStatus"]).capitalize() if found else None

    def ec2_state(self, instance_id: str) -> str:
        try:
            answer = self.world.client("ec2").describe_instances(InstanceIds=[instance_id])
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidInstanceID.NotFound":
                raise
            return "gone"
        return str(answer["Reservations"][0]["Instances"][0]["State"]["Name"])

    def alarm(self, name: str) -> str | None:
        answer = self.world.client("cloudwatch").describe_alarms(AlarmNames=[name])
        found = answer["MetricAlarms"]
        return str(found[0]["StateValue"]) if found else None

    def zones(self) -> dict[str, int]:
        serving = [m for m in self.members() if m["LifecycleState"] == "InService"]
        return dict(Counter(m["AvailabilityZone"][-1] for m in serving))

    def versions(self) -> dict[str, int]:
        serving = [m for m in self.members() if m["LifecycleState"] == "InService"]
        return dict(Counter(m["LaunchTemplate"]["Version"] for m in serving))

    def refresh(self) -> dict[str, Any]:
        answer = self.scaling.describe_instance_refreshes(AutoScalingGroupName=self.name)
        found: dict[str, Any] = answer["InstanceRefreshes"][0]
        return found

    def events(self) -> list[dict[str, Any]]:
        self._events_so_far += received(self.world.client, self.name)
        return self._events_so_far

    def policies(self) -> list[dict[str, Any]]:
        answer = self.scaling.describe_policies(AutoScalingGroupName=self.name)
        found: list[dict[str, Any]] = answer["ScalingPolicies"]
        return found

    def activities(self) -> list[dict[str, Any]]:
        answer = self.scaling.describe_scaling_activities(AutoScalingGroupName=self.name)
        found: list[dict[str, Any]] = answer["Activities"]
        return found
