"""What a plan means: risk, cost, staleness."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sglctl.core.cost_change import cost_change
from sglctl.core.plan_summary import Change, summarise
from sglctl.errors import PreconditionError
from sglctl.operations import planfile
from sglctl.operations.planfile import PlanMeta, refuse_stale


def resource(kind: str, name: str, actions: list[str], **change: Any) -> dict[str, Any]:
    return {
        "address": f"module.m.{kind}.{name}",
        "mode": "managed",
        "type": kind,
        "change": {"actions": actions, **change},
    }


def test_the_riskiest_changes_come_first() -> None:
    document = {
        "resource_changes": [
            resource("aws_lb", "a", ["create"]),
            resource("aws_lb", "b", ["update"], before={"x": 1, "y": 1}, after={"x": 2, "y": 1}),
            resource("aws_vpc", "c", ["delete"]),
            resource("aws_lb", "d", ["delete", "create"], before={"n": 1}, after={"n": 2},
                     replace_paths=[["n"]]),
            resource("aws_lb", "e", ["no-op"]),
            {**resource("aws_ami", "f", ["read"]), "mode": "data"},
        ]
    }  # fmt: skip
    summary = summarise(document)
    assert [(c.risk, c.address[-1], c.keys, c.forced_by) for c in summary.changes] == [
        ("replace", "d", ("n",), ("n",)),
        ("destroy", "c", (), ()),
        ("update", "b", ("x",), ()),
        ("create", "a", (), ()),
    ]
    assert summary.headline() == "1 to replace, 1 to destroy, 1 to update, 1 to create"
    text = summary.to_text()
    assert text.index("replace:") < text.index("destroy:") < text.index("create:")
    assert "module.m.aws_lb.d (forced by n)" in text


@pytest.mark.parametrize(
    ("before", "after", "unknown", "keys"),
    [
        # A provider writes null or "" for the same thing.
        ({"b": [{"p": None}], "min_size": 1}, {"b": [{"p": ""}], "min_size": 2}, {},
         ("min_size",)),
        # Computed attributes are unknown in every update.
        ({"arn": "x", "n": 1}, {"n": 2}, {"arn": True}, ("n",)),
        ({"b": [{"v": 1, "w": 1}], "n": 1}, {"b": [{"w": 1}], "n": 2}, {"b": [{"v": True}]},
         ("n",)),
        # Nothing known differs: what is unknown is the change.
        ({"image": "a"}, {}, {"image": True}, ("image",)),
        ({"l": [1]}, {"l": [1, 2]}, {"l": [False]}, ("l",)),
    ],
)  # fmt: skip
def test_only_attributes_that_really_differ_are_named(
    before: dict[str, Any], after: dict[str, Any], unknown: dict[str, Any], keys: tuple[str, ...]
) -> None:
    change = resource("t", "a", ["update"], before=before, after=after, after_unknown=unknown)
    (found,) = summarise({"resource_changes": [change]}).changes
    assert found.keys == keys


def test_outputs_alone_are_a_change() -> None:
    summary = summarise({"output_changes": {"url": {"actions": ["update"]}}})
    assert not summary.empty
    assert summary.headline() == "1 outputs change"


def test_an_empty_plan_is_empty() -> None:
    assert summarise({"resource_changes": [], "output_changes": {}}).empty


def group(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    return resource("aws_autoscaling_group", "g", ["update"], before=before, after=after)


def sized(low: int, high: int, desired: int, kind: str | None = "g6e.xlarge") -> dict[str, Any]:
    policy = [{"launch_template": [{"override": [{"instance_type": kind}]}]}] if kind else []
    return {
        "min_size": low, "max_size": high, "desired_capacity": desired,
        "mixed_instances_policy": policy,
    }  # fmt: skip


PRICES = {"g6e.xlarge": Decimal("2"), "c7i.large": Decimal("0.1")}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, sized(1, 4, 2), (0, 4)),
        (sized(1, 4, 2), None, (4, 0)),
        # Terraform keeps the live desired capacity; Auto Scaling moves it into the new bounds.
        (sized(1, 4, 1), sized(3, 4, 1), (2, 6)),
        (sized(1, 4, 4), sized(1, 2, 4), (8, 4)),
        (sized(0, 4, 0, "p9.huge"), sized(0, 4, 0, "p9.huge"), (0, 0)),
    ],
)
def test_cost_follows_the_workers_a_group_will_have(
    before: Any, after: Any, expected: tuple[int, int]
) -> None:
    change = cost_change({"resource_changes": [group(before, after)]}, PRICES.get)
    assert (change.before, change.after) == expected


def test_a_group_without_policy_takes_the_type_of_its_launch_template() -> None:
    template = resource(
        "aws_launch_template", "t", ["create"], after={"instance_type": "c7i.large"}
    )
    document = {"resource_changes": [group(None, sized(2, 4, 2, None)), template]}
    assert cost_change(document, PRICES.get).after == Decimal("0.2")


def test_an_unknown_price_is_unknown_not_free() -> None:
    change = cost_change({"resource_changes": [group(None, sized(1, 1, 1, "p9.huge"))]}, PRICES.get)
    assert change.after is None
    assert "unknown" in change.to_text()


META = PlanMeta("prod", "111122223333", "us-east-1", "abc", "2026-11-21T10:00:00+00:00")


def test_a_plan_file_gives_back_what_was_written(tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    plan.write_bytes(b"terraform's own")
    planfile.write(tmp_path / "out.plan", plan, META)
    found, meta = planfile.read(tmp_path / "out.plan", tmp_path / "work")
    assert (found.read_bytes(), meta) == (b"terraform's own", META)
    assert (tmp_path / "out.plan").stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_plan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    with pytest.raises(PreconditionError, match="is not a plan of this sglctl"):
        planfile.read(tmp_path / "x", tmp_path / "work")


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"environment": "dev"}, "the plan is for prod, not dev"),
        ({"account": "999999999999"}, "the plan is for account 111122223333"),
        ({"region": "eu-west-1"}, "in us-east-1"),
        ({"digest": "def"}, "is stale"),
    ],
)
def test_a_plan_made_for_something_else_is_refused(now: dict[str, str], message: str) -> None:
    same = {"environment": "prod", "account": "111122223333", "region": "us-east-1",
            "digest": "abc"}  # fmt: skip
    refuse_stale(META, **same)
    with pytest.raises(PreconditionError, match=message):
        refuse_stale(META, **{**same, **now})


def test_a_change_is_shown_with_its_reason() -> None:
    assert Change("update", "t", "a.b", ("x", "y")).line() == "a.b (x, y)"
