"""What a group does next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglocal.aws.autoscaling.plan import (
    ACTIVE,
    Distribution,
    GroupView,
    Launch,
    Member,
    Place,
    Terminate,
    plan,
    spot_wanted,
)

A, B = Place("a", "subnet-a"), Place("b", "subnet-b")


def member(name: str, zone: str = "a", state: str = "InService", **given: object) -> Member:
    return Member(name, state, zone, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("desired", "base", "percent", "spot"),
    [(4, 0, 100, 0), (4, 0, 0, 4), (4, 1, 0, 3), (4, 1, 50, 1), (3, 5, 0, 0), (0, 0, 0, 0)],
)
def test_spot_fills_what_on_demand_leaves(desired: int, base: int, percent: int, spot: int) -> None:
    assert spot_wanted(desired, Distribution(base, percent)) == spot


CASES = {
    "launches go to the emptier zone": (
        GroupView(2, [A, B], [member("i-1")]),
        [Launch(B, spot=False)],
    ),
    "an unhealthy instance is taken out and replaced": (
        GroupView(1, [A], [member("i-1", healthy=False)]),
        [Terminate("i-1", unhealthy=True), Launch(A, spot=False)],
    ),
    "instances on their way out are no capacity": (
        GroupView(1, [A], [member("i-1", state="Terminating:Wait")]),
        [Launch(A, spot=False)],
    ),
    "an instance that is held by its launch hook is capacity": (
        GroupView(1, [A], [member("i-1", state="Pending:Wait")]),
        [],
    ),
    "an instance that does not serve yet leaves first": (
        GroupView(1, [A], [member("i-1", launched_at=1), member("i-2", state="Pending:Wait")]),
        [Terminate("i-2", unhealthy=False)],
    ),
    "the oldest template version leaves before the oldest instance": (
        GroupView(
            1,
            [A],
            [
                member("i-1", template_version=2, launched_at=1),
                member("i-2", template_version=1, launched_at=2),
            ],
        ),
        [Terminate("i-2", unhealthy=False)],
    ),
    "a protected instance stays": (
        GroupView(0, [A], [member("i-1", protected=True)]),
        [],
    ),
    "a suspended launch does not happen": (
        GroupView(1, [A], [], may_launch=False),
        [],
    ),
    "the newest leaves when the policy says so": (
        GroupView(
            1,
            [A],
            [member("i-1", launched_at=1), member("i-2", launched_at=2)],
            policies=("NewestInstance",),
        ),
        [Terminate("i-2", unhealthy=False)],
    ),
}


@pytest.mark.parametrize(("group", "steps"), CASES.values(), ids=CASES.keys())
def test_plan(group: GroupView, steps: list[Launch | Terminate]) -> None:
    assert plan(group) == steps


@given(
    desired=st.integers(0, 8),
    states=st.lists(
        st.tuples(
            st.sampled_from(["InService", "Pending", "Pending:Wait", "Terminating", "Standby"]),
            st.sampled_from(["a", "b"]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=8,
    ),
    percent=st.integers(0, 100),
)
def test_one_step_reaches_the_desired_capacity(
    desired: int, states: list[tuple[str, str, bool, bool]], percent: int
) -> None:
    members = [
        Member(f"i-{n}", state, zone, spot=spot, healthy=healthy)
        for n, (state, zone, spot, healthy) in enumerate(states)
    ]
    group = GroupView(desired, [A, B], members, Distribution(0, percent))
    steps = plan(group)
    leaving = {s.instance_id for s in steps if isinstance(s, Terminate)}
    launches = [s for s in steps if isinstance(s, Launch)]
    kept = [m for m in members if m.state in ACTIVE and m.instance_id not in leaving]
    assert len(kept) + len(launches) == desired
    assert all(m.healthy for m in kept)
    after = [
        *(replace(m, state="InService") for m in kept),
        *(Member(f"n-{n}", "InService", s.place.zone, s.spot) for n, s in enumerate(launches)),
    ]
    assert plan(replace(group, members=after)) == []
    if not states:
        zones = Counter(s.place.zone for s in launches)
        assert abs(zones["a"] - zones["b"]) <= 1
