"""What runs in an environment, as AWS says: groups, instances, targets of the load balancer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sglctl.aws.session import Session
from sglctl.core.readiness import GroupState

#: Descriptions of activities name the instance: "Launching a new EC2 instance: i-0123…".
_INSTANCE_ID = re.compile(r"\bi-[0-9a-f]+\b")
#: https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pool-instance-lifecycle.html
_PREPARED = frozenset({"Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated"})
ROLE, FLEET, ENVIRONMENT = "sglctl:role", "sglctl:fleet", "sglctl:environment"


@dataclass(frozen=True)
class Member:
    """An instance of a group. `lifecycle` is Auto Scaling's state of it."""

    instance_id: str
    lifecycle: str
    health: str
    zone: str
    instance_type: str


@dataclass(frozen=True)
class Group:
    """One Auto Scaling group. `fleet` is None for the routers' group.

    `template_version` is the launch template's version in force, which new instances get.
    `warm_min` is None without a warm pool; `warm_max_prepared` where the group's max holds.
    `warm`: the pool's instances, where they were asked for (`with_warm`).
    """

    name: str
    role: str
    fleet: str | None
    min: int
    max: int
    desired: int
    warm_min: int | None
    template_version: str = ""
    members: tuple[Member, ...] = field(default=())
    warm_max_prepared: int | None = None
    warm: tuple[Member, ...] = field(default=())

    @property
    def state(self) -> GroupState:
        def count(*prefixes: str) -> int:
            return sum(member.lifecycle.startswith(prefixes) for member in self.members)

        return GroupState(
            self.desired, count("InService"), count("Pending"), count("Terminating"),
            warm_ready=sum(member.lifecycle in _PREPARED for member in self.warm),
        )  # fmt: skip


def groups(session: Session, environment: str) -> list[Group]:
    """Every group of the environment, routers first."""
    pages = (
        session.client("autoscaling")
        .get_paginator("describe_auto_scaling_groups")
        .paginate(Filters=[{"Name": f"tag:{ENVIRONMENT}", "Values": [environment]}])
    )
    found = [_group(raw) for page in pages for raw in page["AutoScalingGroups"]]
    return sorted(found, key=lambda group: (group.fleet is not None, group.name))


def _group(raw: Mapping[str, Any]) -> Group:
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
    warm = raw.get("WarmPoolConfiguration")
    return Group(
        name=raw["AutoScalingGroupName"],
        role=tags.get(ROLE, "?"),
        fleet=tags.get(FLEET),
        min=raw["MinSize"],
        max=raw["MaxSize"],
        desired=raw["DesiredCapacity"],
        warm_min=warm.get("MinSize") if warm else None,
        template_version=_version_in_force(raw),
        members=_members(raw["Instances"]),
        warm_max_prepared=_or_none(warm.get("MaxGroupPreparedCapacity")) if warm else None,
    )


def _or_none(value: int | None) -> int | None:
    """-1 takes the maximum away again, and the group's holds.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutWarmPool.html
    """
    return None if value in (None, -1) else value


def with_warm(session: Session, found: Iterable[Group]) -> list[Group]:
    """The groups with the instances of their warm pools."""
    return [replace(group, warm=warm_members(session, group)) for group in found]


def _members(raw: Iterable[Mapping[str, Any]]) -> tuple[Member, ...]:
    return tuple(
        Member(
            item["InstanceId"], item["LifecycleState"], item["HealthStatus"],
            item["AvailabilityZone"], item.get("InstanceType", ""),
        )
        for item in raw
    )  # fmt: skip


def warm_members(session: Session, group: Group) -> tuple[Member, ...]:
    """The instances of the group's warm pool, which the group itself does not list.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeWarmPool.html
    """
    if group.warm_min is None:
        return ()
    pages = (
        session.client("autoscaling")
        .get_paginator("describe_warm_pool")
        .paginate(AutoScalingGroupName=group.name)
    )
    return _members(item for page in pages for item in page["Instances"])


def _version_in_force(raw: Mapping[str, Any]) -> str:
    """Worker groups hold their template in a mixed-instances policy, the routers' directly."""
    mixed = raw.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    template = mixed.get("LaunchTemplateSpecification") or raw.get("LaunchTemplate") or {}
    return str(template.get("Version", ""))


def outdated(session: Session, found: Iterable[Group]) -> list[str]:
    """Groups whose version in force is older than their template's latest one.

    Terraform makes versions and does not point groups at them (ADR 14).
    """
    in_force = {group.name: group.template_version for group in found}
    if not in_force:
        return []
    pages = (
        session.client("ec2")
        .get_paginator("describe_launch_templates")
        .paginate(Filters=[{"Name": "launch-template-name", "Values": sorted(in_force)}])
    )
    latest = {
        item["LaunchTemplateName"]: str(item["LatestVersionNumber"])
        for page in pages
        for item in page["LaunchTemplates"]
    }
    return sorted(
        name for name, version in in_force.items() if version.isdigit()
        and version != latest.get(name, version)
    )  # fmt: skip


def by_fleet(found: Iterable[Group]) -> dict[str, GroupState]:
    """A fleet's groups together."""
    states: dict[str, GroupState] = {}
    for group in found:
        if group.fleet is not None:
            states[group.fleet] = states.get(group.fleet, GroupState(0, 0)) + group.state
    return states


def target_health(session: Session, environment: str) -> dict[str, tuple[str, str]]:
    """Instance id → (state, reason) of the routers behind the load balancer.

    Empty where there is no target group yet.
    """
    client = session.client("elbv2")
    try:
        answer = client.describe_target_groups(Names=[f"sgl-{environment}-router"])
    except client.exceptions.TargetGroupNotFoundException:
        return {}
    arn = answer["TargetGroups"][0]["TargetGroupArn"]
    described = client.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return {
        item["Target"]["Id"]: (
            item["TargetHealth"]["State"], item["TargetHealth"].get("Description", "")
        )
        for item in described
    }  # fmt: skip


def activities(session: Session, group: str, since: datetime) -> Iterator[dict[str, Any]]:
    """A group's scaling activities that began at `since` or later, newest first (as AWS gives
    them).

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html
    """
    pages = (
        session.client("autoscaling")
        .get_paginator("describe_scaling_activities")
        .paginate(AutoScalingGroupName=group)
    )
    for page in pages:
        for activity in page["Activities"]:
            if activity["StartTime"] < since:
                return
            yield activity


@dataclass(frozen=True)
class FailedActivity:
    """`instance_id` is None where no instance could be launched at all."""

    group: str
    reason: str
    instance_id: str | None


def last_failure(session: Session, names: Iterable[str]) -> FailedActivity | None:
    """Why the newest failed scaling activity of these groups failed, None when none did.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-troubleshooting.html
    """
    client = session.client("autoscaling")
    failed: list[tuple[Any, FailedActivity]] = []
    for name in names:
        answer = client.describe_scaling_activities(AutoScalingGroupName=name, MaxRecords=20)
        for activity in answer["Activities"]:
            if activity["StatusCode"] in ("Failed", "Cancelled"):
                said = activity.get("Description", "")
                found = _INSTANCE_ID.search(said)
                reason = activity.get("StatusMessage") or said
                failure = FailedActivity(name, reason, found[0] if found else None)
                failed.append((activity["StartTime"], failure))
    return max(failed, key=lambda pair: pair[0])[1] if failed else None
