"""Hooks: each is completed once, in the right words, however often AWS refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglworker.aws import Hook, Membership, NoActionError, Result
from sglworker.drain import Trigger
from sglworker.errors import UnreachableError
from sglworker.hooks import HEARTBEAT_S, Backoff, Hooks, View

GROUP = "sgl-dev-chat-spot"


class Group:
    """A group that holds the instance in one lifecycle state, and remembers what it was told."""

    def __init__(self, lifecycle: str | None, holding: Hook = "launch", refusals: int = 0) -> None:
        self.lifecycle, self.holding, self.refusals = lifecycle, holding, refusals
        self.told: list[str] = []

    def _refuse(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise UnreachableError("Rate exceeded")

    async def membership(self) -> Membership | None:
        self._refuse()
        return Membership(GROUP, self.lifecycle) if self.lifecycle else None

    async def complete(self, group: str, hook: Hook, result: Result) -> None:
        self._refuse()
        if not (self.lifecycle or "").endswith(":Wait") or hook != self.holding:
            raise NoActionError("No active Lifecycle Action found")
        self.lifecycle = (self.lifecycle or "").replace("Wait", "Proceed")
        self.told.append(f"{hook} {result}")

    async def heartbeat(self, group: str, hook: Hook) -> None:
        self.told.append(f"heartbeat {hook}")

    async def set_unhealthy(self) -> None:
        self._refuse()
        self.told.append("unhealthy")


def told(group: Group, *views: View, every_s: float = 31.0, looks: int = 5) -> list[str]:
    """What the group hears while each view lasts for so many looks."""

    async def run() -> list[str]:
        hooks, now = Hooks(group, 0.0), 0.0
        for view in views:
            for _ in range(looks):
                now += every_s
                await hooks.step(view, now)
        return group.told

    return asyncio.run(run())


T = Trigger
CASES: dict[str, tuple[Group, list[View], list[str]]] = {
    "ready": (Group("Pending:Wait"), [View("ready")], ["launch CONTINUE"]),
    "ready in service": (Group("InService"), [View("ready")], []),
    "ready, the group does not know it yet": (Group(None), [View("ready")], []),
    "warmed": (Group("Warmed:Pending:Wait"), [View("warmed")], ["launch CONTINUE"]),
    "back in the pool": (Group("Warmed:Pending:Wait", "terminate"), [View("warmed")],
                         ["terminate CONTINUE"]),
    "failed at launch": (Group("Pending:Wait"), [View("failed", "no model")], ["launch ABANDON"]),
    "failed in service": (Group("InService"), [View("failed", "lost GPU")], ["unhealthy"]),
    "drained to terminate": (Group("Terminating:Wait", "terminate"),
                             [View("drained", "", T.TERMINATE)], ["terminate CONTINUE"]),
    "draining, busy": (Group("Terminating:Wait", "terminate"),
                       [View("draining", "", T.TERMINATE, busy=2)], ["heartbeat terminate"] * 5),
    "draining, idle": (Group("Terminating:Wait", "terminate"),
                       [View("draining", "", T.TERMINATE)], []),
    "drained by an operator": (Group("InService"), [View("drained", "", T.OPERATOR)], []),
    "drained for the pool, its engine stops": (
        Group("Warmed:Pending:Wait", "terminate"), [View("drained", "", T.WARM_POOL)],
        ["heartbeat terminate"] * 5),
    "drained for maintenance": (Group("InService"), [View("drained", "", T.MAINTENANCE)],
                                ["unhealthy"]),
    "drained for Spot": (Group("InService"), [View("drained", "", T.SPOT)], []),
    "then terminated": (
        Group("Terminating:Wait", "terminate"),
        [View("drained", "", T.MAINTENANCE), View("drained", "", T.TERMINATE)],
        ["unhealthy", "terminate CONTINUE"]),
    "hydrating": (Group("Pending:Wait"), [View("hydrating")], ["heartbeat launch"] * 5),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_group_hears_each_thing_once(name: str) -> None:
    """Many looks, one completion; heartbeats only while something is left to wait for."""
    group, views, expected = CASES[name]
    group = Group(group.lifecycle, group.holding)
    assert told(group, *views) == expected


def test_heartbeats_keep_their_distance() -> None:
    """A look each second records one heartbeat per `HEARTBEAT_S`."""
    group = Group("Pending:Wait")
    heard = told(group, View("starting"), every_s=1.0, looks=int(HEARTBEAT_S) * 2 + 1)
    assert heard == ["heartbeat launch"] * 2


@pytest.mark.parametrize("refusals", [1, 3, 20])
def test_a_throttled_completion_is_made_in_the_end(refusals: int) -> None:
    """AWS refuses, the hook is completed later, once."""
    group = Group("Terminating:Wait", "terminate", refusals)
    assert told(group, View("drained", "", T.TERMINATE), looks=30) == ["terminate CONTINUE"]


def test_a_new_state_does_not_wait_for_the_pause_of_the_last_one() -> None:
    """The pause belongs to the call that failed."""
    group = Group("Pending:Wait", refusals=1)
    views = [View("ready"), View("failed", "lost GPU")]
    assert told(group, *views, every_s=0.01, looks=1) == ["launch ABANDON"]


@given(st.integers(1, 200), st.floats(0, 1))
def test_pauses_grow_to_half_a_minute_and_no_further(failures: int, chance: float) -> None:
    """Half to all of 1, 2, 4 … 30 s, so that a fleet's retries spread."""
    backoff = Backoff(uniform=lambda low, high: low + chance * (high - low))
    pauses = [backoff.failed(0.0) for _ in range(failures)]
    assert all(0.5 <= pause <= 30.0 for pause in pauses)
    assert pauses == sorted(pauses)
    backoff.reset()
    assert not backoff.waits(0.0)


def test_a_group_that_lost_the_instance_is_left_alone() -> None:
    """Drained, and no longer a member: nothing to complete, nothing asked again."""
    asked: list[Any] = []

    class Gone(Group):
        async def membership(self) -> Membership | None:
            asked.append(1)
            return None

    assert told(Gone(None), View("drained", "", T.TERMINATE)) == []
    assert len(asked) == 1
