"""What a group does next: pure decisions on a snapshot.

Instances are spread over the group's zones, the emptiest first:
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-availability-zone-balanced.html
Scale-in follows the default termination policy, simplified (no billing hour): of the fullest zone
the instance with the oldest launch template version, then the oldest instance:
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html
On-Demand and Spot shares are those of a mixed-instances policy, On-Demand rounded up:
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_InstancesDistribution.html
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

LAUNCHING = ("Pending", "Pending:Wait", "Pending:Proceed")
ACTIVE = (*LAUNCHING, "InService")


@dataclass(frozen=True)
class Place:
    """Where an instance can be put."""

    zone: str
    subnet_id: str | None


@dataclass(frozen=True)
class Distribution:
    """Purchase options: On-Demand are the first `on_demand_base` and that per cent of the rest."""

    on_demand_base: int = 0
    on_demand_percent: int = 100


@dataclass(frozen=True)
class Member:
    """One instance of the group. `launched_at`: seconds on a monotonic clock."""

    instance_id: str
    state: str
    zone: str
    spot: bool = False
    healthy: bool = True
    protected: bool = False
    template_version: int = 1
    launched_at: float = 0.0


@dataclass(frozen=True)
class GroupView:
    """A group at one moment."""

    desired: int
    places: Sequence[Place]
    members: Sequence[Member]
    distribution: Distribution = field(default_factory=Distribution)
    policies: Sequence[str] = ("Default",)
    may_launch: bool = True
    may_terminate: bool = True
    may_replace: bool = True


@dataclass(frozen=True)
class Launch:
    """Start one instance there."""

    place: Place
    spot: bool


@dataclass(frozen=True)
class Terminate:
    """Take one instance out. `unhealthy`: it will be replaced."""

    instance_id: str
    unhealthy: bool


def plan(group: GroupView) -> list[Launch | Terminate]:
    """The steps that bring the group to its desired capacity, in order."""
    active = [m for m in group.members if m.state in ACTIVE]
    unhealthy = [m for m in active if not m.healthy] if group.may_replace else []
    steps: list[Launch | Terminate] = []
    if group.may_terminate:
        steps += [Terminate(m.instance_id, unhealthy=True) for m in unhealthy]
    keeping = [m for m in active if m not in unhealthy]
    missing = group.desired - len(keeping)
    if missing > 0 and group.may_launch:
        steps += _launches(group, keeping, missing)
    if missing < 0 and group.may_terminate:
        chosen = scale_in(group, keeping, -missing)
        steps += [Terminate(m.instance_id, unhealthy=False) for m in chosen]
    return steps


def spot_wanted(desired: int, distribution: Distribution) -> int:
    """How many of `desired` instances are Spot."""
    above = max(0, desired - distribution.on_demand_base)
    return above - math.ceil(above * distribution.on_demand_percent / 100)


def _launches(group: GroupView, keeping: Sequence[Member], missing: int) -> list[Launch]:
    if not group.places:
        return []
    filled = Counter(m.zone for m in keeping)
    spot_missing = spot_wanted(group.desired, group.distribution) - sum(m.spot for m in keeping)
    launches = []
    for number in range(missing):
        place = min(group.places, key=lambda p: filled[p.zone])
        filled[place.zone] += 1
        launches.append(Launch(place, spot=number < spot_missing))
    return launches


def scale_in(group: GroupView, members: Sequence[Member], count: int) -> list[Member]:
    """Which members leave; protected ones never do, so fewer than `count` may be chosen."""
    left = list(members)
    chosen: list[Member] = []
    while len(chosen) < count:
        candidates = [m for m in left if not m.protected]
        if not candidates:
            break
        victim = _victim(group, left, candidates)
        left.remove(victim)
        chosen.append(victim)
    return chosen


def _victim(group: GroupView, left: Sequence[Member], candidates: Sequence[Member]) -> Member:
    crowd = Counter(m.zone for m in left)
    fullest = max(crowd[m.zone] for m in candidates)
    pool = [m for m in candidates if crowd[m.zone] == fullest]
    excess_spot = sum(m.spot for m in left) - spot_wanted(group.desired, group.distribution)
    if 0 < excess_spot < len(left):
        pool = [m for m in pool if m.spot] or pool
    elif excess_spot <= 0:
        pool = [m for m in pool if not m.spot] or pool
    # An instance that does not serve yet leaves before one that does.
    pool = [m for m in pool if m.state in LAUNCHING] or pool
    if "NewestInstance" in group.policies:
        return max(pool, key=lambda m: m.launched_at)
    if "OldestInstance" in group.policies:
        return min(pool, key=lambda m: m.launched_at)
    return min(pool, key=lambda m: (m.template_version, m.launched_at))
