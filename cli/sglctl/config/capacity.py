"""A fleet's capacity, divided between its on-demand and its Spot group."""

from __future__ import annotations

from typing import NamedTuple

from sglctl.config.fleet import Fleet


class GroupCapacity(NamedTuple):
    min: int
    max: int
    desired: int


class Split(NamedTuple):
    """`spot` is None where the fleet never buys Spot."""

    on_demand: GroupCapacity
    spot: GroupCapacity | None


def on_demand_share(workers: int, base: int, spot_percentage: int) -> int:
    """Of `workers`, how many are on-demand: the base, and the rounded-up rest of its share.

    The rule of a mixed-instances group (OnDemandBaseCapacity,
    OnDemandPercentageAboveBaseCapacity), which rounds in favour of on-demand:
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/mixed-instances-groups-set-up-overview.html
    """
    first = min(base, workers)
    return first - (-(workers - first) * (100 - spot_percentage) // 100)


def split(fleet: Fleet) -> Split:
    """Both groups' min, max and desired; each keeps min <= desired <= max when the fleet does."""
    capacity, purchase = fleet.capacity, fleet.purchase
    total = GroupCapacity(capacity.min, capacity.max, capacity.desired)
    on_demand = GroupCapacity(
        *(on_demand_share(n, purchase.on_demand_base, purchase.spot_percentage) for n in total)
    )
    spot = GroupCapacity(*(n - m for n, m in zip(total, on_demand, strict=True)))
    return Split(on_demand, spot if spot.max else None)


#: GB a worker's root volume needs beside the weights: system, driver, engine, caches.
SYSTEM_GB, SMALLEST_VOLUME_GB = 12, 60


def root_volume_gb(
    wanted: int | None, weight_bytes: int, *, floor: int = SMALLEST_VOLUME_GB
) -> int:
    """The size wanted, else the weights once, a quarter more, and the system; `floor` at least."""
    if wanted is not None:
        return wanted
    return max(floor, SYSTEM_GB + -(-weight_bytes * 5 // (4 * 10**9)))
