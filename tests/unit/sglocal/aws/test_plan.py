"""What a group does next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from group_snapshots import A, B, C, member, reached
from hypothesis import given
from hypothesis import strategies as st

from sglocal.aws.autoscaling.lifecycle import ACTIVE, WARMED, WARMING
from sglocal.aws.autoscaling.plan import (
    Blocked,
    Launch,
    ReturnToPool,
    Step,
    TakeFromPool,
    Terminate,
    WarmLaunch,
    plan,
)
from sglocal.aws.autoscaling.view import Distribution, GroupView, Member, Pool, Processes

WARM = "Warmed:Stopped"


@pytest.mark.parametrize(
    ("desired", "base", "percent", "spot"),
    [(4, 0, 100, 0), (4, 0, 0, 4), (4, 1, 0, 3), (4, 1, 50, 1), (3, 5, 0, 0), (0, 0, 0, 0)],
)
def test_spot_fills_what_on_demand_leaves(desired: int, base: int, percent: int, spot: int) -> None:
    assert Distribution(base, percent).spot_of(desired) == spot


@pytest.mark.parametrize(
    ("pool", "size"),
    [
        (Pool(), 6),
        (Pool(max_prepared=8), 4),
        (Pool(max_prepared=3), 0),
        (Pool(max_prepared=3, min_size=2), 2),
        (Pool(max_prepared=0), 0),
        (Pool(min_size=9), 9),
        (Pool(min_size=9, deleting=True), 0),
    ],
)
def test_a_pool_fills_up_to_the_prepared_capacity_and_never_below_its_minimum(
    pool: Pool, size: int
) -> None:
    assert pool.size(desired=4, maximum=10) == size


CASES: dict[str, tuple[GroupView, list[Step]]] = {
    "launches go to the emptier zone": (
        GroupView(2, [A, B], [member("i-1")]),
        [Launch(B)],
    ),
    "launches avoid a zone that just refused one": (
        GroupView(2, [A, B], [member("i-1")], avoided=frozenset("b")),
        [Launch(A)],
    ),
    "when every zone refused, the emptiest is tried again": (
        GroupView(2, [A, B], [member("i-1")], avoided=frozenset("ab")),
        [Launch(B)],
    ),
    "an instance that stopped is taken out and replaced": (
        GroupView(1, [A], [member("i-1", unhealthy_by="EC2")]),
        [Terminate("i-1", "unhealthy"), Launch(A)],
    ),
    "what the load balancer calls unhealthy is replaced one at a time in a small group": (
        GroupView(
            2, [A], [member("i-1", unhealthy_by="ELB"), member("i-2", unhealthy_by="ELB")]
        ),
        [Terminate("i-1", "unhealthy"), Launch(A)],
    ),
    "and waits while another instance is on its way in": (
        GroupView(
            2, [A], [member("i-1", unhealthy_by="ELB"), member("i-2", state="Pending:Wait")]
        ),
        [],
    ),
    "no unhealthy instance leaves while ReplaceUnhealthy is suspended": (
        GroupView(1, [A], [member("i-1", unhealthy_by="EC2")], may=Processes(replace=False)),
        [],
    ),
    "with Launch suspended an unhealthy instance leaves and is not replaced": (
        GroupView(1, [A], [member("i-1", unhealthy_by="EC2")], may=Processes(launch=False)),
        [Terminate("i-1", "unhealthy")],
    ),
    "instances on their way out are no capacity": (
        GroupView(1, [A], [member("i-1", state="Terminating:Wait")]),
        [Launch(A)],
    ),
    "standby is no capacity": (
        GroupView(1, [A], [member("i-1", state="Standby")]),
        [Launch(A)],
    ),
    "an instance that is held by its launch hook is capacity": (
        GroupView(1, [A], [member("i-1", state="Pending:Wait")]),
        [],
    ),
    "a protected instance stays, and that is noted": (
        GroupView(0, [A], [member("i-1", protected=True)]),
        [Blocked()],
    ),
    "protection does not keep an unhealthy instance": (
        GroupView(1, [A], [member("i-1", protected=True, unhealthy_by="user")]),
        [Terminate("i-1", "unhealthy"), Launch(A)],
    ),
    "a suspended Terminate keeps what is too much": (
        GroupView(0, [A], [member("i-1")], may=Processes(terminate=False)),
        [],
    ),
    "zones are evened out by launching first": (
        GroupView(3, [A, B], [member("i-1"), member("i-2"), member("i-3")]),
        [Launch(B, balancing=True)],
    ),
    "a difference of one is balance": (
        GroupView(3, [A, B], [member("i-1"), member("i-2", "b"), member("i-3")]),
        [],
    ),
    "an instance in a zone that the group has left is replaced": (
        GroupView(1, [B], [member("i-1")]),
        [Launch(B, balancing=True)],
    ),
    "the surplus of a rebalancing leaves the fullest zone": (
        GroupView(
            2, [A, B], [member("i-1"), member("i-2", launched_at=1), member("i-3", "b")], now=9.0
        ),
        [Terminate("i-1", "excess")],
    ),
    "no rebalancing while AZRebalance is suspended": (
        GroupView(2, [A, B], [member("i-1"), member("i-2")], may=Processes(rebalance=False)),
        [],
    ),
    "no rebalancing when nothing that could leave would even the zones out": (
        GroupView(
            2, [A, B], [member("i-1", protected=True), member("i-2", protected=True)]
        ),
        [],
    ),
    "a Spot instance at risk is replaced before it leaves, by Spot": (
        GroupView(
            1, [A], [member("i-1", spot=True, at_risk=True)], distribution=Distribution(0, 0)
        ),
        [Launch(A, spot=True)],
    ),
    "it serves until the replacement does": (
        GroupView(1, [A], [member("i-1", at_risk=True), member("i-2", state="Pending")]),
        [],
    ),
    "it leaves when the replacement serves": (
        GroupView(1, [A], [member("i-1", at_risk=True), member("i-2")]),
        [Terminate("i-1", "at_risk")],
    ),
    "a group at its maximum replaces one at a time": (
        GroupView(
            2, [A], [member("i-1", at_risk=True), member("i-2", at_risk=True)], maximum=2
        ),
        [Launch(A, spot=True)],
    ),
    "below it all at once": (
        GroupView(
            2, [A], [member("i-1", at_risk=True), member("i-2", at_risk=True)], maximum=4
        ),
        [Launch(A, spot=True), Launch(A, spot=True)],
    ),
    "a suspended Terminate keeps what is at risk": (
        GroupView(
            1, [A], [member("i-1", at_risk=True), member("i-2")], may=Processes(terminate=False)
        ),
        [],
    ),
    "scale-in ends a rebalancing under way": (
        GroupView(
            1, [A, B], [member("i-1"), member("i-2"), member("i-3", "b", "Pending", balancing=True)]
        ),
        [Terminate("i-3", "excess"), Terminate("i-1", "excess")],
    ),
    "scale-out takes from the warm pool first": (
        GroupView(
            2, [A, B], [member("i-1")], [member("w-1", "a", WARM), member("w-2", "b", WARM)],
            Pool(max_prepared=3),
        ),
        [TakeFromPool("w-2")],
    ),
    "a depleted pool is a cold start": (
        GroupView(2, [A], [], [member("w-1", "a", WARM)], Pool(max_prepared=2)),
        [TakeFromPool("w-1"), Launch(A)],
    ),
    "an instance still warming up cannot be taken": (
        GroupView(1, [A], [], [member("w-1", "a", "Warmed:Pending:Wait")], Pool(max_prepared=2)),
        [Launch(A)],
    ),
    "a warm instance in a zone without capacity is passed over": (
        GroupView(
            1, [A, B], [], [member("w-1", "a", WARM)], Pool(max_prepared=2), avoided=frozenset("a")
        ),
        [Launch(B)],
    ),
    "a minimum is refilled when an instance leaves the pool": (
        GroupView(1, [A], [], [member("w-1", "a", WARM)], Pool(max_prepared=0, min_size=1)),
        [TakeFromPool("w-1"), WarmLaunch(A)],
    ),
    "the pool fills the zones that the group leaves empty": (
        GroupView(1, [A, B, C], [member("i-1")], [], Pool(max_prepared=3)),
        [WarmLaunch(B), WarmLaunch(C)],
    ),
    "with reuse, scale-in returns an instance to the pool": (
        GroupView(
            0, [A], [member("i-1")], [], Pool(max_prepared=1, reuse=True)
        ),
        [ReturnToPool("i-1")],
    ),
    "without room in the pool it is terminated": (
        GroupView(
            0, [A], [member("i-1")], [member("w-1", "a", WARM)], Pool(max_prepared=1, reuse=True)
        ),
        [Terminate("i-1", "excess")],
    ),
    "an unhealthy instance never returns to the pool": (
        GroupView(
            0, [A], [member("i-1", unhealthy_by="EC2")], [], Pool(max_prepared=0, reuse=True)
        ),
        [Terminate("i-1", "unhealthy")],
    ),
    "a pool that holds too many gives up what is still warming": (
        GroupView(
            0, [A], [], [member("w-1", "a", WARM), member("w-2", "a", "Warmed:Pending")],
            Pool(max_prepared=1),
        ),
        [Terminate("w-2", "excess")],
    ),
    "an unhealthy warm instance is replaced": (
        GroupView(
            0, [A], [], [member("w-1", "a", WARM, unhealthy_by="EC2")], Pool(max_prepared=1)
        ),
        [Terminate("w-1", "unhealthy"), WarmLaunch(A)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("group", "steps"), CASES.values(), ids=CASES.keys())
def test_plan(group: GroupView, steps: list[Step]) -> None:
    assert plan(group) == steps


STATES = ["InService", "Pending", "Pending:Wait", "Terminating", "Standby"]
MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(STATES),
        st.sampled_from("abx"),
        st.booleans(),
        st.sampled_from(["", "EC2", "ELB", "user"]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=8,
)
POOLS = st.none() | st.builds(
    Pool,
    min_size=st.integers(0, 3),
    max_prepared=st.none() | st.integers(0, 9),
    reuse=st.booleans(),
)


@given(
    desired=st.integers(0, 8),
    rows=MEMBERS,
    warm=st.lists(st.tuples(st.sampled_from([*WARMING, *WARMED]), st.sampled_from("ab"))),
    pool=POOLS,
    percent=st.integers(0, 100),
)
def test_repeated_steps_reach_the_sizes_evened_out_and_then_rest(
    desired: int,
    rows: list[tuple[str, str, bool, str, bool, bool]],
    warm: list[tuple[str, str]],
    pool: Pool | None,
    percent: int,
) -> None:
    members = [
        Member(f"i-{n}", state, zone, spot=spot, unhealthy_by=by, balancing=balancing, at_risk=risk)
        for n, (state, zone, spot, by, balancing, risk) in enumerate(rows)
    ]
    stock = [Member(f"w-{n}", state, zone) for n, (state, zone) in enumerate(warm)]
    group = GroupView(
        desired, [A, B], members, stock if pool else [], pool, 8, Distribution(0, percent)
    )
    for _ in range(40):
        group = reached(replace(group, now=group.now + 1), plan(group))
    assert plan(group) == []
    active = [m for m in group.members if m.state in ACTIVE]
    assert len(active) == desired
    assert not any(m.unhealthy_by or m.at_risk for m in active)
    assert len(group.warm) == (pool.size(desired, 8) if pool else 0)
    # What is bought otherwise than asked for leaves before what is in the wrong zone.
    if sum(m.spot for m in active) == group.distribution.spot_of(desired):
        zones = Counter(m.zone for m in active)
        assert "x" not in zones
        assert abs(zones["a"] - zones["b"]) <= 1
