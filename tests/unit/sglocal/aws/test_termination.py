"""Which instance leaves on scale-in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from group_snapshots import A, B, member

from sglocal.aws.autoscaling.termination import scale_in
from sglocal.aws.autoscaling.view import Distribution, GroupView, Member

# One zone: i-old has the oldest launch, i-template the oldest template, i-hour 3590 s of its hour.
MEMBERS = [
    member("i-old", launched_at=0.0, template_version=3, type_rank=1),
    member("i-template", launched_at=4000.0, template_version=1, type_rank=0),
    member("i-hour", launched_at=3610.0, template_version=2, type_rank=0),
    member("i-new", launched_at=7000.0, template_version=3, type_rank=2),
    member("i-configured", launched_at=5000.0, template_version=3, from_configuration=True),
]
GROUP = GroupView(4, [A], MEMBERS, now=7200.5)

POLICIES = {
    "Default": "i-configured",
    "OldestInstance": "i-old",
    "NewestInstance": "i-new",
    "OldestLaunchTemplate": "i-template",
    "OldestLaunchConfiguration": "i-configured",
    "ClosestToNextInstanceHour": "i-hour",
    "AllocationStrategy": "i-new",
}


@pytest.mark.parametrize(("policy", "leaver"), POLICIES.items())
def test_a_policy_chooses(policy: str, leaver: str) -> None:
    chosen = scale_in(replace(GROUP, policies=(policy,)), MEMBERS, 1)
    assert [m.instance_id for m in chosen] == [leaver]


PAIRS: dict[str, tuple[GroupView, list[str]]] = {
    "the fullest zone comes before the policy": (
        GroupView(
            2,
            [A, B],
            [member("i-1", "b"), member("i-2", launched_at=1), member("i-3", launched_at=2)],
            policies=("OldestInstance",),
        ),
        ["i-2"],
    ),
    "a zone that the group has left comes before the fullest": (
        GroupView(2, [A], [member("i-1"), member("i-2"), member("i-3", "z", launched_at=9)]),
        ["i-3"],
    ),
    "the purchase option in excess comes before the zone": (
        GroupView(
            2,
            [A, B],
            [member("i-1"), member("i-2"), member("i-3", "b", spot=True)],
            distribution=Distribution(0, 100),
        ),
        ["i-3"],
    ),
    "several policies apply in their order": (
        GroupView(
            1,
            [A],
            [member("i-1", launched_at=1), member("i-2", launched_at=2)],
            policies=("OldestLaunchTemplate", "NewestInstance"),
        ),
        ["i-2"],
    ),
    "the default looks at the order of types in a mixed group": (
        GroupView(
            1, [A], [member("i-1"), member("i-2", launched_at=5, type_rank=1)], mixed=True, now=9.0
        ),
        ["i-2"],
    ),
    "an instance that does not serve yet leaves before one that does": (
        GroupView(1, [A], [member("i-1"), member("i-2", state="Pending:Wait", launched_at=9)]),
        ["i-2"],
    ),
    "protection holds in service only": (
        GroupView(
            0, [A], [member("i-1", protected=True), member("i-2", state="Pending", protected=True)]
        ),
        ["i-2"],
    ),
}


@pytest.mark.parametrize(("group", "leavers"), PAIRS.values(), ids=PAIRS.keys())
def test_what_comes_before_the_policy(group: GroupView, leavers: list[str]) -> None:
    excess = len(group.members) - group.desired
    chosen: list[Member] = scale_in(group, group.members, excess)
    assert [m.instance_id for m in chosen] == leavers
