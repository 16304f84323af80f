"""A group at one moment, as the decisions see it: plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Place:
    """Where an instance can be put."""

    zone: str
    subnet_id: str | None


@dataclass(frozen=True)
class Distribution:
    """Purchase options: On-Demand are the first `on_demand_base` and that per cent of the rest.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_InstancesDistribution.html
    """

    on_demand_base: int = 0
    on_demand_percent: int = 100

    def spot_of(self, desired: int) -> int:
        """How many of `desired` instances are Spot; On-Demand is rounded up."""
        above = max(0, desired - self.on_demand_base)
        return above - math.ceil(above * self.on_demand_percent / 100)


@dataclass(frozen=True)
class Member:
    """One instance of the group or of its warm pool. `launched_at`: seconds on the group's clock.

    `type_rank`: the place of its type in the order of wish. `unhealthy_by`: `EC2`, `ELB`, `user`
    or empty. `balancing`: launched beyond the desired capacity, to even out the zones.
    `at_risk`: it got a rebalance recommendation, and its group has Capacity Rebalancing.
    """

    instance_id: str
    state: str
    zone: str
    spot: bool = False
    unhealthy_by: str = ""
    protected: bool = False
    template_version: int = 1
    from_configuration: bool = False
    type_rank: int = 0
    launched_at: float = 0.0
    balancing: bool = False
    at_risk: bool = False


@dataclass(frozen=True)
class Pool:
    """A warm pool as declared; `max_prepared` None: the group's maximum. `deleting`: size 0.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutWarmPool.html
    """

    min_size: int = 0
    max_prepared: int | None = None
    reuse: bool = False
    deleting: bool = False

    def size(self, desired: int, maximum: int) -> int:
        """How many instances the pool should hold beside `desired` in the group."""
        if self.deleting:
            return 0
        prepared = maximum if self.max_prepared is None else self.max_prepared
        return max(self.min_size, prepared - desired, 0)


@dataclass(frozen=True)
class Processes:
    """What the group may do now: its processes that are not suspended.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
    """

    launch: bool = True
    terminate: bool = True
    replace: bool = True
    rebalance: bool = True


@dataclass(frozen=True)
class GroupView:
    """A group at one moment. `now`: seconds on the same clock as `Member.launched_at`.

    `surge`: by how many an instance refresh lets the group exceed its desired capacity,
    `outdated`: the instances that it replaces.
    """

    desired: int
    places: Sequence[Place]
    members: Sequence[Member]
    warm: Sequence[Member] = ()
    pool: Pool | None = None
    maximum: int = 1_000_000
    distribution: Distribution = field(default_factory=Distribution)
    policies: Sequence[str] = ("Default",)
    mixed: bool = False
    may: Processes = field(default_factory=Processes)
    avoided: frozenset[str] = frozenset()
    surge: int = 0
    outdated: frozenset[str] = frozenset()
    now: float = 0.0
