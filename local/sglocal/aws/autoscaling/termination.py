"""Which instances leave on scale-in: pure.

First the purchase option, then the zone with the most instances, then the policies in order:
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html
Protection holds for instances in service only:
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-instance-protection.html
Where AWS chooses at random, the oldest instance leaves, so that runs repeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from sglocal.aws.autoscaling.lifecycle import LAUNCHING, State
from sglocal.aws.autoscaling.view import GroupView, Member

BILLING_HOUR_S = 3600.0

Narrow = Callable[[GroupView, Sequence[Member]], list[Member]]


def scale_in(group: GroupView, members: Sequence[Member], count: int) -> list[Member]:
    """Which members leave; protected ones never do, so fewer than `count` may be chosen."""
    left = list(members)
    chosen: list[Member] = []
    while len(chosen) < count:
        candidates = [m for m in left if not (m.protected and m.state == State.IN_SERVICE)]
        if not candidates:
            break
        victim = _victim(group, left, candidates)
        left.remove(victim)
        chosen.append(victim)
    return chosen


def _victim(group: GroupView, left: Sequence[Member], candidates: Sequence[Member]) -> Member:
    pool = _purchase_option(group, left, candidates)
    peers = [m for m in left if m.spot == pool[0].spot] if _one_option(pool) else list(left)
    pool = _fullest_zone(group, peers, pool)
    # An instance that does not serve yet leaves before one that does.
    pool = [m for m in pool if m.state in LAUNCHING] or pool
    for policy in group.policies:
        if narrow := POLICIES.get(policy):
            pool = narrow(group, pool)
    return min(pool, key=lambda m: (m.launched_at, m.instance_id))


def _one_option(pool: Sequence[Member]) -> bool:
    return len({m.spot for m in pool}) == 1


def _purchase_option(
    group: GroupView, left: Sequence[Member], candidates: Sequence[Member]
) -> list[Member]:
    excess_spot = sum(m.spot for m in left) - group.distribution.spot_of(group.desired)
    wanted = [m for m in candidates if m.spot == (excess_spot > 0)]
    return wanted or list(candidates)


def _fullest_zone(
    group: GroupView, peers: Sequence[Member], pool: Sequence[Member]
) -> list[Member]:
    """Those in zones the group has left, else those in the zones with the most instances."""
    zones = {place.zone for place in group.places}
    if foreign := [m for m in pool if m.zone not in zones]:
        return foreign
    crowd = Counter(m.zone for m in peers)
    fullest = max(crowd[m.zone] for m in pool)
    return [m for m in pool if crowd[m.zone] == fullest]


def _least(key: Callable[[GroupView, Member], float]) -> Narrow:
    def narrow(group: GroupView, pool: Sequence[Member]) -> list[Member]:
        least = min(key(group, m) for m in pool)
        return [m for m in pool if key(group, m) == least]

    return narrow


def _seconds_to_next_hour(group: GroupView, member: Member) -> float:
    return BILLING_HOUR_S - (group.now - member.launched_at) % BILLING_HOUR_S


_oldest_template = _least(lambda _, m: m.template_version)
_oldest_instance = _least(lambda _, m: m.launched_at)
_newest_instance = _least(lambda _, m: -m.launched_at)
_closest_hour = _least(_seconds_to_next_hour)
_last_wish = _least(lambda _, m: -m.type_rank)


def _oldest_configuration(_group: GroupView, pool: Sequence[Member]) -> list[Member]:
    return [m for m in pool if m.from_configuration] or list(pool)


def _default(group: GroupView, pool: Sequence[Member]) -> list[Member]:
    if group.mixed:
        pool = _last_wish(group, pool)
    pool = _oldest_configuration(group, pool)
    return _closest_hour(group, _oldest_template(group, pool))


POLICIES: dict[str, Narrow] = {
    "AllocationStrategy": _last_wish,
    "ClosestToNextInstanceHour": _closest_hour,
    "Default": _default,
    "NewestInstance": _newest_instance,
    "OldestInstance": _oldest_instance,
    "OldestLaunchConfiguration": _oldest_configuration,
    "OldestLaunchTemplate": _oldest_template,
}
