"""What an environment costs per hour, from the instance catalogue. Instances only: storage,
traffic, NAT gateways and the load balancer are not in it. Spot counts as on-demand, its bound."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sglctl.config.desired import Desired
from sglctl.config.fleet import Fleet

ZERO = Decimal(0)


@dataclass(frozen=True)
class HourlyCost:
    """USD per hour at the fewest, the wanted and the most workers.

    None where the catalogue has no price: unknown is not free.
    """

    min: Decimal | None
    desired: Decimal | None
    max: Decimal | None

    def __add__(self, other: HourlyCost) -> HourlyCost:
        return HourlyCost(
            _plus(self.min, other.min),
            _plus(self.desired, other.desired),
            _plus(self.max, other.max),
        )


@dataclass(frozen=True)
class EnvironmentCost:
    """Per fleet, the routers, and together; `unpriced` are types without a price."""

    region: str
    date: datetime.date
    fleets: dict[str, HourlyCost]
    routers: HourlyCost
    total: HourlyCost
    unpriced: tuple[str, ...]
    other_region: bool

    @property
    def basis(self) -> str:
        """What the figures rest on, in one line."""
        text = f"on-demand list prices of {self.region}, {self.date}; instances only"
        return f"{text}; this region's differ" if self.other_region else text

    def to_json(self) -> dict[str, Any]:
        return {
            "currency": "USD",
            "basis": self.basis,
            "fleets": {name: _json(cost) for name, cost in self.fleets.items()},
            "routers": _json(self.routers),
            "total": _json(self.total),
            "unpriced": list(self.unpriced),
        }


def hourly_cost(desired: Desired) -> EnvironmentCost:
    """Every fleet at its preferred instance type, and the routers."""
    environment, prices = desired.environment, desired.instances.prices
    fleets = {}
    for name, fleet in environment.fleets.items():
        price, capacity = price_of(desired, fleet.instance_types[0]), fleet.capacity
        running = _running_warm(fleet)
        counts = (n + running for n in (capacity.min, capacity.desired, capacity.max))
        fleets[name] = _times(price, *counts)
    count, router_type = environment.router.count, environment.router.instance_type
    routers = _times(price_of(desired, router_type), count, count, count)
    used = [router_type, *(fleet.instance_types[0] for fleet in environment.fleets.values())]
    return EnvironmentCost(
        region=prices.region,
        date=prices.date,
        fleets=fleets,
        routers=routers,
        total=sum(fleets.values(), routers),
        unpriced=tuple(sorted({name for name in used if price_of(desired, name) is None})),
        other_region=environment.region != prices.region,
    )


def _running_warm(fleet: Fleet) -> int:
    """Prepared workers that are billed like serving ones; stopped ones pay for storage only."""
    return fleet.warm_pool.min if fleet.warm_pool and fleet.warm_pool.state == "Running" else 0


def price_of(desired: Desired, instance_type: str) -> Decimal | None:
    """USD per hour on demand; None where the catalogue has no price."""
    instance = desired.instance(instance_type)
    if instance is None or instance.usd_per_hour is None:
        return None
    return Decimal(str(instance.usd_per_hour))


def _times(price: Decimal | None, low: int, now: int, high: int) -> HourlyCost:
    def at(count: int) -> Decimal | None:
        return None if price is None and count else (price or ZERO) * count

    return HourlyCost(at(low), at(now), at(high))


def _plus(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other


def _json(cost: HourlyCost) -> dict[str, float | None]:
    return {
        name: None if value is None else round(float(value), 4)
        for name, value in (("min", cost.min), ("desired", cost.desired), ("max", cost.max))
    }
