"""Groups for the tests of decisions, and what they become."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sglocal.aws.autoscaling.lifecycle import ACTIVE, WARMED, WARMING, State
from sglocal.aws.autoscaling.plan import (
    Launch,
    ReturnToPool,
    Step,
    TakeFromPool,
    Terminate,
    WarmLaunch,
)
from sglocal.aws.autoscaling.view import GroupView, Member, Place

A, B, C = Place("a", "subnet-a"), Place("b", "subnet-b"), Place("c", "subnet-c")


def member(name: str, zone: str = "a", state: str = "InService", **given: Any) -> Member:
    return Member(name, state, zone, **given)


def reached(group: GroupView, steps: Iterable[Step]) -> GroupView:
    """The group once every step is done and every instance has settled."""
    members = {m.instance_id: m for m in group.members if m.state in ACTIVE}
    warm = {m.instance_id: m for m in group.warm if m.state in (*WARMING, *WARMED)}
    for number, step in enumerate(steps):
        new = Member(f"new-{number}-at-{group.now}", "", "", launched_at=group.now)
        if isinstance(step, Launch):
            members[new.instance_id] = replace(new, zone=step.place.zone, spot=step.spot)
        elif isinstance(step, WarmLaunch):
            warm[new.instance_id] = replace(new, zone=step.place.zone)
        elif isinstance(step, TakeFromPool):
            members[step.instance_id] = warm.pop(step.instance_id)
        elif isinstance(step, ReturnToPool):
            warm[step.instance_id] = members.pop(step.instance_id)
        elif isinstance(step, Terminate):
            members.pop(step.instance_id, None)
            warm.pop(step.instance_id, None)
    return replace(
        group,
        members=[_served(m) for m in members.values()],
        warm=[replace(m, state=State.WARMED_STOPPED) for m in warm.values()],
    )


def _served(arrived: Member) -> Member:
    if arrived.state == State.IN_SERVICE:
        return arrived
    return replace(arrived, state=State.IN_SERVICE, unhealthy_by="", balancing=False)
