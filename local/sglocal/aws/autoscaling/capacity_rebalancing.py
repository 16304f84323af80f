"""Spot instances that received a rebalance recommendation are replaced before they leave: pure.

A group launches first and terminates once the replacement serves; it may exceed its maximum
meanwhile. AWS gives no figure for this; a tenth or one instance is what evening out zones may.
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-capacity-rebalancing.html
"""

from __future__ import annotations

from collections.abc import Sequence

from sglocal.aws.autoscaling.lifecycle import State
from sglocal.aws.autoscaling.view import GroupView, Member


def replaced(group: GroupView, keeping: Sequence[Member]) -> list[Member]:
    """Instances at risk that leave now, the oldest first: as many others serve as are wanted."""
    if not group.may.terminate:
        return []
    serving = [m for m in keeping if m.state == State.IN_SERVICE]
    risky = sorted(_at_risk(keeping), key=lambda m: (m.launched_at, m.instance_id))
    return risky[: max(0, len(serving) - group.desired)]


def replacements(group: GroupView, keeping: Sequence[Member]) -> int:
    """How many instances there shall be beyond the desired capacity."""
    room = group.maximum + max(1, group.maximum // 10) - group.desired
    return min(len(_at_risk(keeping)), max(0, room))


def _at_risk(members: Sequence[Member]) -> list[Member]:
    return [m for m in members if m.at_risk and m.state == State.IN_SERVICE]
