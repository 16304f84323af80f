"""What an instance refresh does next: pure decisions on a snapshot.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RefreshPreferences.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-adding-checkpoints-instance-refresh.html
Replacements are launched by the group's own loop: the refresh takes outdated instances out, and
says by how many (`surge`) the group may exceed its desired capacity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from sglocal.aws.autoscaling.lifecycle import ACTIVE, LEAVING, WARMED, WARMING, State

WAITING = "Waiting for remaining instances to be available. For example: "


@dataclass(frozen=True)
class Preferences:
    """RefreshPreferences with their defaults applied. Times in seconds.

    `max_percent` None: not given, which is not the same as 100 (an instance is then terminated and
    its replacement launched at once, never the other way round).
    """

    min_percent: int = 90
    max_percent: int | None = None
    warm_up_s: float = 0.0
    checkpoints: tuple[int, ...] = ()
    checkpoint_delay_s: float = 3600.0
    skip_matching: bool = False
    auto_rollback: bool = False
    protected: Literal["Refresh", "Ignore", "Wait"] = "Wait"
    standby: Literal["Terminate", "Ignore", "Wait"] = "Wait"
    alarms: tuple[str, ...] = ()
    bake_s: float = 0.0


@dataclass(frozen=True)
class Stock:
    """An instance as the refresh sees it, oldest first in its list.

    `outdated`: to be replaced; `fresh`: launched since the refresh began. `ready`: in service,
    healthy and, if fresh, warmed up.
    """

    instance_id: str
    state: str
    outdated: bool = False
    fresh: bool = False
    ready: bool = False
    protected: bool = False


@dataclass(frozen=True)
class RefreshView:
    """A group under refresh at one moment. `checkpoint`: the per cent to reach now."""

    desired: int
    members: Sequence[Stock]
    warm: Sequence[Stock] = ()
    preferences: Preferences = field(default_factory=Preferences)
    checkpoint: int = 100


@dataclass(frozen=True)
class Decision:
    """What to do now and how far it is.

    `replace`: instances to take out; `left`, `warm_left`: outdated ones not replaced yet;
    `reached`: the checkpoint is; `done`: nothing is left to do, `moving`: something is under way.
    """

    replace: tuple[str, ...] = ()
    surge: int = 0
    left: int = 0
    warm_left: int = 0
    replaced: int = 0
    reached: bool = False
    done: bool = False
    moving: bool = False
    reason: str = ""


def decide(view: RefreshView) -> Decision:
    """The next replacements: instances in service first, then those of the warm pool."""
    wanted = _outdated(view)
    fresh = [m for m in view.members if m.fresh and m.state in ACTIVE]
    unready = [m for m in fresh if not m.ready]
    leaving = [m for m in view.members if m.outdated and m.state in LEAVING]
    to_go = _to_go(view, wanted)
    goers = [m for m in wanted if _may_go(view, m)]
    replace = _batch(view, goers, to_go, len(leaving))
    # Counted after what leaves now: the last one to go must not be replaced twice.
    surge = max(0, min(_room(view), to_go - len(replace), len(goers) - len(replace)))
    settled = not (wanted or unready or leaving)
    pool = _warm_batch(view) if settled else ()
    warm_left = sum(m.outdated for m in view.warm)
    return Decision(
        replace=(*replace, *pool),
        surge=surge,
        left=len(wanted),
        warm_left=warm_left,
        replaced=sum(m.ready for m in fresh),
        reached=to_go == 0 and not unready and not leaving,
        done=settled and not warm_left and not any(_filling(m) for m in view.warm),
        moving=bool(replace or pool or leaving or _warming_up(unready)),
        reason=_reason(view, wanted, unready, leaving),
    )


def floor_of(desired: int, percent: int) -> int:
    """How many instances must stay ready: rounded up."""
    return math.ceil(desired * percent / 100)


def _outdated(view: RefreshView) -> list[Stock]:
    """What the refresh must still take out of the group, ignored instances left aside."""
    keep = view.preferences
    found = []
    for member in view.members:
        if not member.outdated or member.state in LEAVING:
            continue
        aside = member.state in (State.STANDBY, State.ENTERING_STANDBY)
        if aside and keep.standby == "Ignore":
            continue
        if not aside and member.protected and keep.protected == "Ignore":
            continue
        found.append(member)
    return found


def _may_go(view: RefreshView, member: Stock) -> bool:
    if member.state in (State.STANDBY, State.ENTERING_STANDBY):
        return view.preferences.standby == "Terminate"
    held = member.protected and view.preferences.protected != "Refresh"
    return member.state in ACTIVE and not held


def _to_go(view: RefreshView, wanted: Sequence[Stock]) -> int:
    """How many may leave before the checkpoint: as many as bring the new ones to its per cent."""
    needed = math.ceil(view.desired * view.checkpoint / 100)
    old = sum(m.outdated and m.state in ACTIVE for m in view.members)
    aside = sum(m.state not in ACTIVE for m in wanted) if view.checkpoint == 100 else 0
    return max(0, min(len(wanted), old - max(0, view.desired - needed) + aside))


def _room(view: RefreshView) -> int:
    """By how many instances the group may exceed its desired capacity."""
    percent = view.preferences.max_percent
    if percent is None:
        return 0
    room = view.desired * percent // 100 - view.desired
    stuck = floor_of(view.desired, view.preferences.min_percent) >= view.desired
    return 1 if room == 0 and stuck else room


def _batch(view: RefreshView, goers: Sequence[Stock], to_go: int, leaving: int) -> tuple[str, ...]:
    """Which leave now; those that serve nobody first, since they cost no capacity."""
    idle = [m for m in goers if not m.ready][:to_go]
    serving = [m for m in goers if m.ready]
    ready = sum(m.ready for m in view.members)
    spare = ready - floor_of(view.desired, view.preferences.min_percent) - leaving
    under_way = leaving or idle or any(m.fresh and not m.ready for m in view.members)
    whole = sum(m.state in ACTIVE for m in view.members) >= view.desired
    if spare < 1 and whole and not under_way and _room(view) == 0:
        spare = 1  # one at a time, where the percentages allow none
    count = max(0, min(spare, to_go - len(idle)))
    return tuple(m.instance_id for m in (*idle, *serving[:count]))


def _warm_batch(view: RefreshView) -> tuple[str, ...]:
    """Warm instances, so many that the minimum percentage of the pool stays; one at least."""
    held = [m for m in view.warm if m.state in (*WARMING, *WARMED)]
    under_way = len(view.warm) - sum(m.state in WARMED for m in view.warm)
    spare = len(held) - floor_of(len(held), view.preferences.min_percent)
    old = [m for m in held if m.outdated]
    return tuple(m.instance_id for m in old[: max(0, max(1, spare) - under_way)])


def _filling(member: Stock) -> bool:
    return member.state in WARMING


def _warming_up(unready: Sequence[Stock]) -> bool:
    return any(m.state == State.IN_SERVICE for m in unready)


def _reason(
    view: RefreshView,
    wanted: Sequence[Stock],
    unready: Sequence[Stock],
    leaving: Sequence[Stock],
) -> str:
    for member in unready:
        what = "warming up" if member.state == State.IN_SERVICE else "being launched"
        return f"{WAITING}{member.instance_id} is {what}."
    for member in leaving:
        return f"{WAITING}{member.instance_id} is being terminated."
    for member in wanted:
        if member.state in (State.STANDBY, State.ENTERING_STANDBY):
            if view.preferences.standby == "Wait":
                return f"{WAITING}{member.instance_id} is in Standby."
        elif member.protected and view.preferences.protected == "Wait":
            return f"{WAITING}{member.instance_id} is protected from scale in."
    return ""
