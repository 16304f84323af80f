"""From moto's objects to the plain data that decisions are made on. Hold the emulator's lock."""

from __future__ import annotations

from typing import Any

from sglocal.aws.autoscaling.configuration import in_force, instance_types
from sglocal.aws.autoscaling.records import GroupRecord, record_of, suspended
from sglocal.aws.autoscaling.view import Distribution, GroupView, Member, Place, Pool, Processes
from sglocal.aws.emulator import Emulator


def group_view(emulator: Emulator, group: Any) -> GroupView:
    """The group at this moment."""
    record, now = record_of(group), emulator.clock()
    types = instance_types(group)
    replaces = bool(group.capacity_rebalance) and record.refresh is None
    return GroupView(
        desired=int(group.desired_capacity or 0),
        places=_places(emulator, group),
        members=[_member(state, types, replaces) for state in group.instance_states],
        warm=[_member(state, types, False) for state in record.warm],
        outdated=record.refresh.outdated if record.refresh is not None else frozenset(),
        surge=record.refresh.surge if record.refresh is not None else 0,
        pool=_pool(group, record),
        maximum=int(group.max_size or 0),
        distribution=_distribution(group),
        policies=tuple(group.termination_policies),
        mixed=bool(group.mixed_instances_policy),
        may=_processes(group, record, now),
        avoided=record.avoided(now),
        now=now,
    )


def _processes(group: Any, record: GroupRecord, now: float) -> Processes:
    waits = record.deleting or record.launch_after > now
    return Processes(
        launch=not suspended(group, "Launch") and not waits,
        terminate=not suspended(group, "Terminate"),
        replace=not suspended(group, "ReplaceUnhealthy"),
        # A refresh moves instances about itself; evening out meanwhile would undo its batches.
        rebalance=not suspended(group, "AZRebalance") and record.refresh is None,
    )


def _places(emulator: Emulator, group: Any) -> list[Place]:
    ids = [name.strip() for name in (group.vpc_zone_identifier or "").split(",") if name]
    if not ids:
        return [Place(zone, None) for zone in group.availability_zones]
    subnets = [emulator.ec2.get_subnet(subnet_id) for subnet_id in ids]
    return [Place(subnet.availability_zone, subnet.id) for subnet in subnets]


def _pool(group: Any, record: GroupRecord) -> Pool | None:
    declared = group.warm_pool
    if declared is None:
        return Pool(deleting=True) if record.warm else None
    prepared = declared.max_group_prepared_capacity
    return Pool(
        min_size=int(declared.min_size or 0),
        max_prepared=None if prepared is None else int(prepared),
        reuse=bool((declared.instance_reuse_policy or {}).get("ReuseOnScaleIn")),
        deleting=record.deleting_pool,
    )


def _member(state: Any, types: list[str], replaces: bool) -> Member:
    """`replaces`: the group replaces what is at risk."""
    record, instance = state.sgl, state.instance
    kind = str(instance.instance_type)
    return Member(
        instance_id=instance.id,
        state=state.lifecycle_state,
        zone=str(state.availability_zone),
        spot=instance.lifecycle == "spot",
        unhealthy_by=record.unhealthy_by,
        protected=bool(state.protected_from_scale_in),
        template_version=record.template_version,
        from_configuration=record.template is None,
        type_rank=types.index(kind) if kind in types else len(types),
        launched_at=record.launched_at,
        balancing=record.balancing,
        at_risk=replaces and record.at_risk,
    )


def _distribution(group: Any) -> Distribution:
    given = in_force(group).distribution()
    return Distribution(
        on_demand_base=int(given.get("OnDemandBaseCapacity") or 0),
        on_demand_percent=int(given.get("OnDemandPercentageAboveBaseCapacity", 100)),
    )
