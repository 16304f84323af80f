"""Two workers of one fleet: their group in moto, their agents here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sglctl.aws.run_command import ScriptResult
from sglctl.core.workers import AgentState, Worker

TAGS = {"sglctl:environment": "local", "sglctl:role": "worker", "sglctl:fleet": "chat"}

#: One that moto knows; asking it for its whole list takes seconds.
_IMAGE = "ami-12c6146b"


def worker(instance_id: str = "i-1", state: str = "ready", lifecycle: str = "InService",
           fleet: str = "chat", in_flight: int = 0) -> Worker:  # fmt: skip
    agent = AgentState(state, "", in_flight, 0)
    return Worker(
        instance_id, fleet, f"sgl-local-{fleet}", lifecycle, "Healthy", "us-east-1a", "m7i.large",
        agent,
    )  # fmt: skip


@dataclass
class Agents:
    """Stands for RunCommand: agents that drain, and lose one request with every look."""

    states: dict[str, str]
    in_flight: dict[str, int] = field(default_factory=dict)
    refuse: dict[str, str] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)

    def run(
        self, instance_ids: Sequence[str], script: str, *, timeout_s: float
    ) -> dict[str, ScriptResult]:
        assert timeout_s > 0
        self.scripts += [script] if script != "sglworker state" else []
        return {name: self._one(name, script) for name in instance_ids}

    def _one(self, name: str, script: str) -> ScriptResult:
        if name in self.refuse and script != "sglworker state":
            return ScriptResult(name, "Failed", 1, "", f"Error: {self.refuse[name]}\n")
        if script.startswith("sglworker drain"):
            self.states[name] = "draining"
        elif script == "sglworker undrain":
            self.states[name] = "starting"
        busy = self.in_flight.get(name, 0)
        if self.states[name] == "draining" and not busy:
            self.states[name] = "drained"
        self.in_flight[name] = max(0, busy - 1)
        document = {"state": self.states[name], "in_flight": busy, "queued": 0, "cut_streams": 0}
        return ScriptResult(name, "Success", 0, json.dumps(document), "")


def make_group(session: Any, name: str, desired: int) -> list[str]:
    """An Auto Scaling group of workers in moto; its instance ids."""
    ec2, scaling = session.client("ec2"), session.client("autoscaling")
    ec2.create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={"ImageId": _IMAGE, "InstanceType": "m7i.large"},
    )
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name, MinSize=0, MaxSize=4, DesiredCapacity=desired,
        LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"},
        AvailabilityZones=["us-east-1a"],
        Tags=[{"Key": k, "Value": v, "PropagateAtLaunch": True} for k, v in TAGS.items()],
    )  # fmt: skip
    found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    return [item["InstanceId"] for item in found["AutoScalingGroups"][0]["Instances"]]
