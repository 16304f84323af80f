"""What instance metadata asks of a worker: pure decisions over what was read.

Three notices lead to a drain by themselves; a rebalance recommendation only where the fleet says
`on_rebalance: drain`. The Spot groups of this project have Capacity Rebalancing: their group
launches a replacement first and then terminates the instance, whose hook drains it. Draining at
once would only take capacity away before the replacement serves.
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-capacity-rebalancing.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sglworker.drain import Trigger
from sglworker.imds import Maintenance, SpotNotice
from sglworker.models import FleetDocument, StateName

WARM_TARGETS = ("Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated")
_GONE_TARGETS = ("Terminated", "Warmed:Terminated")
#: Nothing serves in these: the instance is on its way into the pool, or there, or out of order.
_NOT_SERVING: tuple[StateName, ...] = ("booting", "hydrating", "warmed", "failed")
#: EC2 tells of a Spot interruption two minutes before it.
SPOT_NOTICE_S = 120.0
#: Left to complete the hook, and to be late.
_SPOT_MARGIN_S = 10.0
#: A drained worker is replaced before its maintenance begins: boot, weights, warm-up.
_MAINTENANCE_MARGIN_S = 900.0


@dataclass(frozen=True)
class Wish:
    """A drain that is due. `deadline_s` None: the fleet's."""

    trigger: Trigger
    reason: str
    deadline_s: float | None = None


@dataclass(frozen=True)
class Notices:
    """The last readings; all None and empty where nothing is asked."""

    target: str | None = None
    spot: SpotNotice | None = None
    rebalance: str | None = None
    maintenance: tuple[Maintenance, ...] = ()


def wishes(
    notices: Notices, state: StateName, fleet: FleetDocument | None, now: datetime
) -> list[Wish]:
    """The drains that the notices ask for in this state; `now` is of the wall clock."""
    deadline_s = fleet.drain_deadline_s if fleet else 0.0
    found = [_group_wish(notices.target, state)]
    if notices.spot is not None:
        found.append(_spot_wish(notices.spot, now))
    if notices.rebalance and fleet and fleet.on_rebalance == "drain":
        found.append(Wish(Trigger.REBALANCE, f"EC2 recommends it since {notices.rebalance}"))
    found.extend(
        Wish(
            Trigger.MAINTENANCE, f"{event.code} {event.event_id} at {event.not_before.isoformat()}"
        )
        for event in notices.maintenance
        if (event.not_before - now).total_seconds() <= deadline_s + _MAINTENANCE_MARGIN_S
    )
    return [wish for wish in found if wish is not None]


def _group_wish(target: str | None, state: StateName) -> Wish | None:
    if target in _GONE_TARGETS:
        return Wish(Trigger.TERMINATE, f"the group wants {target}")
    # A group that reuses instances wants a serving one back in its warm pool.
    if target in WARM_TARGETS and state not in _NOT_SERVING:
        return Wish(Trigger.WARM_POOL, f"the group wants {target}")
    return None


def _spot_wish(notice: SpotNotice, now: datetime) -> Wish:
    reason = f"EC2 will {notice.action} it at {notice.at.isoformat()}"
    return Wish(Trigger.SPOT, reason, spot_time_left(notice, now))


def spot_time_left(notice: SpotNotice, now: datetime) -> float:
    """Seconds for the drain.

    A time outside the two minutes of a notice means that this host's clock is wrong, not that the
    instance is gone: then the notice is taken as just given.
    """
    left = (notice.at - now).total_seconds()
    if not 0 <= left <= SPOT_NOTICE_S:
        left = SPOT_NOTICE_S
    return max(0.0, left - _SPOT_MARGIN_S)
