"""An instance refresh keeps its bounds and ends, whatever the percentages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglocal.aws.autoscaling.lifecycle import ACTIVE, State
from sglocal.aws.autoscaling.refresh_plan import (
    Preferences,
    RefreshView,
    Stock,
    decide,
    floor_of,
)

OLD = Stock("", State.IN_SERVICE, outdated=True, ready=True)


def old(count: int) -> list[Stock]:
    return [replace(OLD, instance_id=f"old-{number}") for number in range(count)]


class Group:
    """A group whose loop launches what is missing; what is launched is ready two looks later."""

    def __init__(self, desired: int, preferences: Preferences) -> None:
        self.desired, self.preferences = desired, preferences
        self.members = old(desired)
        self.launched = 0
        self.ready_low, self.active_high = desired, desired

    def look(self) -> bool:
        """One step of the loop; True when the refresh is done."""
        view = RefreshView(self.desired, self.members, preferences=self.preferences)
        decision = decide(view)
        self.members = [m for m in self.members if m.state in ACTIVE]
        self.members = [_gone(m) if m.instance_id in decision.replace else m for m in self.members]
        active = [m for m in self.members if m.state in ACTIVE]
        missing = self.desired + decision.surge - len(active)
        self._measure(active, missing)
        self.members = [_further(m) for m in self.members]
        for _ in range(missing):
            self.launched += 1
            self.members.append(Stock(f"new-{self.launched}", State.PENDING, fresh=True))
        return decision.done

    def _measure(self, active: list[Stock], missing: int) -> None:
        self.ready_low = min(self.ready_low, sum(m.ready for m in active))
        self.active_high = max(self.active_high, len(active) + max(0, missing))


def _gone(member: Stock) -> Stock:
    return replace(member, state=State.TERMINATING, ready=False)


def _further(member: Stock) -> Stock:
    if member.state == State.PENDING:
        return replace(member, state=State.IN_SERVICE)
    return replace(member, ready=True) if member.state == State.IN_SERVICE else member


@st.composite
def percentages(draw: st.DrawFn) -> Preferences:
    low = draw(st.integers(0, 100))
    high = draw(st.none() | st.integers(100, min(200, low + 100)))
    return Preferences(min_percent=low, max_percent=high)


@given(desired=st.integers(0, 12), preferences=percentages())
def test_every_instance_is_replaced_once_within_the_bounds(
    desired: int, preferences: Preferences
) -> None:
    group = Group(desired, preferences)
    assert any(group.look() for _ in range(6 * desired + 6)), "it never ends"
    names = {m.instance_id for m in group.members}
    assert (len(names), group.launched) == (desired, desired)
    assert not any(m.outdated for m in group.members)
    floor = floor_of(desired, preferences.min_percent)
    one_at_a_time = preferences.max_percent is None
    assert group.ready_low >= min(floor, desired - one_at_a_time)
    roof = desired if preferences.max_percent is None else desired * preferences.max_percent // 100
    stuck = preferences.max_percent is not None and roof == desired and floor >= desired
    assert group.active_high <= roof + stuck


@pytest.mark.parametrize(
    ("minimum", "maximum", "replaced", "surge"),
    [(90, None, 1, 0), (50, None, 5, 0), (100, 100, 0, 1), (100, 150, 0, 5), (80, 120, 2, 2)],
)
def test_the_first_batch_follows_the_percentages(
    minimum: int, maximum: int | None, replaced: int, surge: int
) -> None:
    decision = decide(RefreshView(10, old(10), preferences=Preferences(minimum, maximum)))
    assert (len(decision.replace), decision.surge) == (replaced, surge)


@given(percent=st.integers(1, 100), desired=st.integers(1, 20))
def test_no_more_leave_before_a_checkpoint_than_it_needs(percent: int, desired: int) -> None:
    view = RefreshView(desired, old(desired), preferences=Preferences(0), checkpoint=percent)
    assert len(decide(view).replace) == floor_of(desired, percent)


def test_without_leave_for_protected_instances_the_group_does_not_grow() -> None:
    members = [replace(m, protected=True) for m in old(2)]
    decision = decide(RefreshView(2, members, preferences=Preferences(100, 200)))
    assert (decision.replace, decision.surge, decision.left) == ((), 0, 2)
    assert "protected" in decision.reason
