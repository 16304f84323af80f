"""What happens to a fleet while it streams: each event from its call until the fleet is settled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.scaleout.environment import (
    LOOK_S,
    ON_DEMAND,
    ROUTERS,
    SPOT,
    Environment,
    Members,
)
from benchmarks.scaleout.errors import ScaleoutError

_SETTLE_S = 900.0
#: A router's own deadlines (drain_notice_s, drain_s), and its start.
_RESTART_S = 240.0
#: EC2 takes a Spot instance two minutes after the notice.
_SPOT_S = 120.0


@dataclass(frozen=True)
class Event:
    """`prepare` before the load, `happen` under it; each returns when it is done."""

    name: str
    prepare: Callable[[Environment], None]
    happen: Callable[[Environment], None]


def shape(environment: Environment, on_demand: int, spot: int = 0) -> None:
    """Exactly so many workers, all in service; a fleet without Spot has none of it."""
    counts = {ON_DEMAND: on_demand, SPOT: spot}
    counts = {group: count for group, count in counts.items() if environment.has(group)}
    for group, count in counts.items():
        environment.scale(group, count)
    for group, count in counts.items():
        environment.until(group, _exactly(count), f"{count} in service", _SETTLE_S)


def _exactly(count: int) -> Callable[[Members], bool]:
    return lambda members: list(members.values()) == ["InService"] * count


def _refresh(environment: Environment) -> None:
    """The new worker is in service before the old one goes."""
    calls = environment.autoscaling
    started = calls.start_instance_refresh(
        AutoScalingGroupName=ON_DEMAND,
        Preferences={"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200,
                     "InstanceWarmup": 0, "SkipMatching": False},
    )["InstanceRefreshId"]  # fmt: skip
    deadline = time.monotonic() + _SETTLE_S
    while True:
        found = calls.describe_instance_refreshes(
            AutoScalingGroupName=ON_DEMAND, InstanceRefreshIds=[started]
        )["InstanceRefreshes"][0]
        if found["Status"] == "Successful":
            return
        if found["Status"] in ("Failed", "Cancelled") or time.monotonic() > deadline:
            raise ScaleoutError(f"the instance refresh: {found}")
        time.sleep(LOOK_S)


def _spot_notice(environment: Environment) -> None:
    """Over when the worker has drained, which must be before EC2 takes it."""
    (instance_id,) = environment.members(SPOT)
    environment.tell("spot-notice", instance_id)
    deadline = time.monotonic() + _SPOT_S
    while time.monotonic() < deadline:
        state = json.loads(environment.shell(instance_id, "sglworker state"))
        if state["state"] == "drained":
            return
        time.sleep(LOOK_S)
    raise ScaleoutError(f"{instance_id} had not drained when EC2 took it")


def _restart_routers(environment: Environment) -> None:
    """One after the other; each takes requests again before the next goes."""
    for instance_id in environment.members(ROUTERS):
        environment.shell(instance_id, "systemctl restart sglrouter", timeout_s=_RESTART_S)
        environment.until_healthy(instance_id, _RESTART_S)


EVENTS = {
    event.name: event
    for event in (
        Event("scale-in", partial(shape, on_demand=2), partial(shape, on_demand=1)),
        Event("instance refresh", partial(shape, on_demand=1), _refresh),
        Event("Spot notice", partial(shape, on_demand=1, spot=1), _spot_notice),
        Event("router restarts", partial(shape, on_demand=1), _restart_routers),
    )
}
