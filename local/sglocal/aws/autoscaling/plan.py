"""What a group does next: pure decisions on a snapshot.

Instances are spread over the group's zones, the emptiest first, and evened out later:
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-availability-zone-balanced.html
Scale-out draws on the warm pool before it launches anything new:
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-warm-pools.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sglocal.aws.autoscaling.capacity_rebalancing import replaced, replacements
from sglocal.aws.autoscaling.lifecycle import (
    ACTIVE,
    LAUNCHING,
    LEAVING,
    WARMED,
    WARMING,
    State,
)
from sglocal.aws.autoscaling.termination import scale_in
from sglocal.aws.autoscaling.view import GroupView, Member, Place


@dataclass(frozen=True)
class Launch:
    """Start one instance in the group. `balancing`: beyond the desired capacity."""

    place: Place
    spot: bool = False
    balancing: bool = False


@dataclass(frozen=True)
class WarmLaunch:
    """Start one instance in the warm pool."""

    place: Place


@dataclass(frozen=True)
class TakeFromPool:
    """Move a warm instance into the group."""

    instance_id: str


@dataclass(frozen=True)
class ReturnToPool:
    """Move an instance back into the warm pool instead of terminating it."""

    instance_id: str


@dataclass(frozen=True)
class Terminate:
    """Take one instance out for good."""

    instance_id: str
    why: Literal["unhealthy", "at_risk", "excess"]


@dataclass(frozen=True)
class Blocked:
    """Instances should leave and cannot: all that remain are protected."""


Step = Launch | WarmLaunch | TakeFromPool | ReturnToPool | Terminate | Blocked


def plan(group: GroupView) -> list[Step]:
    """The steps that bring the group and its warm pool to their sizes, in order."""
    active = [m for m in group.members if m.state in ACTIVE]
    unhealthy = _to_replace(group, active)
    keeping = [m for m in active if m not in unhealthy]
    steps: list[Step] = [Terminate(m.instance_id, "unhealthy") for m in unhealthy]
    leaving = replaced(group, keeping)
    steps += [Terminate(m.instance_id, "at_risk") for m in leaving]
    keeping = [m for m in keeping if m not in leaving]
    extra = replacements(group, keeping)
    surplus = [m for m in keeping if m.balancing and m.state in LAUNCHING]
    counted = [m for m in keeping if m not in surplus]
    missing = group.desired + group.surge + extra - len(counted)
    if missing > len(surplus):
        steps += _scale_out(group, keeping, missing - len(surplus), extra)
    elif missing < 0:
        if group.may.terminate:
            steps += [Terminate(m.instance_id, "excess") for m in surplus]
        steps += _scale_in(group, counted, -missing)
    elif missing == 0:
        steps += _rebalance(group, keeping)
    return steps + _fill_pool(group, steps)


def _to_replace(group: GroupView, active: Sequence[Member]) -> list[Member]:
    """Unhealthy members to terminate now.

    Instances that stopped or were marked by a user at once, others a tenth of the group at a time.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-health-checks.html#minimize-downtime
    """
    if not (group.may.replace and group.may.terminate):
        return []
    serving = [m for m in active if m.state == State.IN_SERVICE and m.unhealthy_by]
    at_once = [m for m in serving if m.unhealthy_by != "ELB"]
    under_way = sum(m.state in LAUNCHING for m in active) + len(at_once)
    budget = max(0, max(1, group.desired // 10) - under_way)
    return at_once + [m for m in serving if m.unhealthy_by == "ELB"][:budget]


def _scale_out(
    group: GroupView, keeping: Sequence[Member], missing: int, spot_extra: int
) -> list[Step]:
    """`spot_extra`: what replaces Spot instances at risk is Spot, too."""
    if not group.may.launch:
        return []
    filled = Counter(m.zone for m in keeping)
    ready = _ready_warm(group)
    spot_wanted = group.distribution.spot_of(group.desired) + spot_extra
    spot_missing = spot_wanted - sum(m.spot for m in keeping)
    steps: list[Step] = []
    for number in range(missing):
        spot = number < spot_missing
        if ready and not spot:
            warm = min(ready, key=lambda m: (filled[m.zone], m.launched_at, m.instance_id))
            ready.remove(warm)
            filled[warm.zone] += 1
            steps.append(TakeFromPool(warm.instance_id))
        elif group.places:
            place = _emptiest(group, filled)
            filled[place.zone] += 1
            steps.append(Launch(place, spot))
    return steps


def _ready_warm(group: GroupView) -> list[Member]:
    """Warm instances that can start now: none that a refresh is about to replace, and not in a zone
    without capacity while others have some.
    """
    ready = [m for m in group.warm if m.state in WARMED and not m.unhealthy_by]
    ready = [m for m in ready if m.instance_id not in group.outdated]
    if all(place.zone in group.avoided for place in group.places):
        return ready
    return [m for m in ready if m.zone not in group.avoided]


def _emptiest(group: GroupView, filled: Counter[str]) -> Place:
    """Among zones that did not just refuse a launch, unless all did."""
    return min(group.places, key=lambda p: (p.zone in group.avoided, filled[p.zone]))


def _scale_in(group: GroupView, counted: Sequence[Member], excess: int) -> list[Step]:
    if not group.may.terminate:
        return []
    chosen = scale_in(group, counted, excess)
    room = _pool_room(group) if group.pool is not None and group.pool.reuse else 0
    steps: list[Step] = []
    for member in chosen:
        if room > 0 and member.state == State.IN_SERVICE:
            room -= 1
            steps.append(ReturnToPool(member.instance_id))
        else:
            steps.append(Terminate(member.instance_id, "excess"))
    return steps if len(chosen) == excess else [*steps, Blocked()]


def _rebalance(group: GroupView, keeping: Sequence[Member]) -> list[Step]:
    """Launch in the emptiest zone, once all is quiet; the surplus then leaves the fullest.

    The group may exceed its maximum by a tenth or one instance meanwhile; one at a time is less.
    """
    quiet = all(m.state == State.IN_SERVICE for m in keeping) and not any(
        m.state in LEAVING for m in group.members
    )
    may = group.may
    if not (quiet and may.rebalance and may.launch and group.places and keeping):
        return []
    place = _emptiest(group, Counter(m.zone for m in keeping))
    if place.zone in group.avoided:
        return []
    for spot in sorted({m.spot for m in keeping}):
        added = Member("", State.IN_SERVICE, place.zone, spot=spot, launched_at=group.now)
        after = [*keeping, added]
        leaving = scale_in(group, after, 1)
        left = [m for m in after if m not in leaving]
        if leaving and _imbalance(group, left) < _imbalance(group, keeping):
            return [Launch(place, spot, balancing=True)]
    return []


def _imbalance(group: GroupView, members: Iterable[Member]) -> int:
    """0 when no zone has two instances more than another and none is outside the zones."""
    filled = Counter(m.zone for m in members)
    zones = {place.zone for place in group.places}
    counts = [filled[zone] for zone in zones]
    outside = sum(count for zone, count in filled.items() if zone not in zones)
    mean = sum(counts) // len(zones)
    return outside + sum(max(0, c - mean - 1) + max(0, mean - c) for c in counts)


def _pool_room(group: GroupView) -> int:
    """How many instances the warm pool lacks; negative when it holds too many."""
    if group.pool is None:
        return 0
    held = sum(m.state in (*WARMING, *WARMED) for m in group.warm)
    return group.pool.size(group.desired, group.maximum) - held


def _fill_pool(group: GroupView, steps: Sequence[Step]) -> list[Step]:
    """Bring the warm pool to its size, counting what `steps` take from it and return to it."""
    if group.pool is None:
        return []
    taken = {s.instance_id for s in steps if isinstance(s, TakeFromPool)}
    returned = sum(isinstance(s, ReturnToPool) for s in steps)
    held = [m for m in group.warm if m.instance_id not in taken]
    more: list[Step] = []
    if group.may.replace and group.may.terminate:
        bad = [m for m in held if m.state in WARMED and m.unhealthy_by]
        more += [Terminate(m.instance_id, "unhealthy") for m in bad]
        held = [m for m in held if m not in bad]
    held = [m for m in held if m.state in (*WARMING, *WARMED)]
    lacking = group.pool.size(group.desired, group.maximum) - len(held) - returned
    if lacking > 0 and group.may.launch and group.places:
        # Zones of the group count too: what leaves the pool later should even them out.
        taking = [m for m in group.warm if m.instance_id in taken]
        serving = [m for m in group.members if m.state in ACTIVE]
        filled = Counter(m.zone for m in (*serving, *taking, *held))
        filled.update(s.place.zone for s in steps if isinstance(s, Launch))
        for _ in range(lacking):
            place = _emptiest(group, filled)
            filled[place.zone] += 1
            more.append(WarmLaunch(place))
    elif lacking < 0 and group.may.terminate:
        more += [Terminate(m.instance_id, "excess") for m in _surplus(held, -lacking)]
    return more


def _surplus(held: Sequence[Member], count: int) -> list[Member]:
    """Those still warming up first, then of the fullest zone, then the oldest."""
    left, chosen = list(held), []
    for _ in range(count):
        if not left:
            break
        crowd = Counter(m.zone for m in left)
        leaver = min(
            left,
            key=lambda m: (m.state in WARMED, -crowd[m.zone], m.launched_at, m.instance_id),
        )
        left.remove(leaver)
        chosen.append(leaver)
    return chosen
