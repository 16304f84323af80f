"""An environment at one glance: workers by state, load, throughput, cost. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sglctl.core.table import table
from sglctl.core.workers import Worker

Price = Callable[[str], Decimal | None]
#: Order in which states are told: that of a worker's life, then what is wrong.
_ORDER = ("ready", "warming_up", "starting", "hydrating", "booting", "draining", "drained",
          "warmed", "stopped", "failed", "unreachable")  # fmt: skip


@dataclass(frozen=True)
class FleetLoad:
    """`streams` run in engines; `queued` wait in engines and routers. None: not known.

    `cache_hit_rate` (0 to 1) is the mean of the serving workers' own. `usd_per_hour` counts every
    instance that is billed by the hour: those that start and drain as well, stopped ones not.
    """

    fleet: str
    desired: int
    states: Mapping[str, int]
    streams: int
    queued: int
    tokens_per_s: float | None
    cache_hit_rate: float | None
    usd_per_hour: Decimal | None


@dataclass(frozen=True)
class Overview:
    """One look. `routers`: healthy behind the load balancer, and all of them."""

    environment: str
    at: datetime
    fleets: tuple[FleetLoad, ...]
    routers: tuple[int, int]
    usd_per_hour: Decimal | None

    def to_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "time": self.at.isoformat(timespec="seconds"),
            "routers": {"healthy": self.routers[0], "count": self.routers[1]},
            "usd_per_hour": _number(self.usd_per_hour),
            "fleets": [
                {**asdict(fleet), "usd_per_hour": _number(fleet.usd_per_hour)}
                for fleet in self.fleets
            ],
        }

    def to_text(self) -> str:
        """For a terminal that is painted anew."""
        head = ("FLEET", "WANTED", "WORKERS", "STREAMS", "QUEUED", "TOKENS/S", "CACHE HITS",
                "$/HOUR")  # fmt: skip
        rows = [(fleet.fleet, fleet.desired, *_cells(fleet)) for fleet in self.fleets]
        healthy, routers = self.routers
        return "\n".join(
            [
                f"{self.environment}  {self.at:%H:%M:%S} UTC  routers {healthy}/{routers} healthy  "
                f"${_money(self.usd_per_hour)}/hour with them",
                "",
                *table([head, *rows]),
            ]
        )

    def to_line(self) -> str:
        """For a log: everything on one line."""
        names = ("", " streams", " queued", " tokens/s", " cache hits", " $/hour")
        parts = [
            f"{fleet.fleet}: "
            + ", ".join(f"{cell}{name}" for cell, name in zip(_cells(fleet), names, strict=True))
            for fleet in self.fleets
        ]
        healthy, routers = self.routers
        time = self.at.strftime("%H:%M:%S")
        return "; ".join([f"{time} routers {healthy}/{routers}", *parts])


def fleet_load(
    name: str,
    desired: int,
    workers: Iterable[Worker],
    router_queues: int,
    tokens_per_s: float | None,
    price: Price,
) -> FleetLoad:
    """A fleet's sums; a worker that does not answer counts in `states` alone (and is billed)."""
    found = [worker for worker in workers if worker.fleet == name]
    rates = [w.agent.cache_hit_rate for w in found if w.serves]
    known = [rate for rate in rates if rate is not None]
    return FleetLoad(
        fleet=name,
        desired=desired,
        states=dict(Counter(worker.agent.state for worker in found)),
        streams=sum(worker.agent.in_flight or 0 for worker in found),
        queued=router_queues + sum(worker.agent.queued or 0 for worker in found),
        tokens_per_s=tokens_per_s,
        cache_hit_rate=sum(known) / len(known) if known else None,
        usd_per_hour=cost((w.instance_type for w in found if w.agent.state != "stopped"), price),
    )


def cost(instance_types: Iterable[str], price: Price) -> Decimal | None:
    """USD per hour together; None as soon as one has no price: unknown is not free."""
    total = Decimal(0)
    for name in instance_types:
        one = price(name)
        if one is None:
            return None
        total += one
    return total


def rate(
    before: Mapping[str, float | None], now: Mapping[str, float | None], seconds: float
) -> float | None:
    """Per second, over counters by router; None where one was not read or no time passed.

    A counter that fell belongs to a router that began anew: all it has is new. One that was not
    there before tells nothing yet.
    """
    if seconds <= 0 or not before:
        return None
    grown = 0.0
    for name, value in now.items():
        first = before.get(name, value)
        if value is None or first is None:
            return None
        grown += value - first if value >= first else value
    return grown / seconds


def _cells(fleet: FleetLoad) -> tuple[object, ...]:
    return (
        _states(fleet.states), fleet.streams, fleet.queued,
        "-" if fleet.tokens_per_s is None else f"{fleet.tokens_per_s:.0f}",
        "-" if fleet.cache_hit_rate is None else f"{fleet.cache_hit_rate:.0%}",
        _money(fleet.usd_per_hour),
    )  # fmt: skip


def _states(states: Mapping[str, int]) -> str:
    known = [name for name in _ORDER if states.get(name)]
    others = sorted(name for name in states if name not in _ORDER)
    return " ".join(f"{states[name]} {name}" for name in (*known, *others)) or "none"


def _money(value: Decimal | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def _number(value: Decimal | None) -> float | None:
    return None if value is None else round(float(value), 4)
