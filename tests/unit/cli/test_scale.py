"""`sglctl scale`: what it decides, what it changes, and what it leaves when it is stopped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sglctl.aws.fleet_state import Group
from sglctl.aws.session import Session, emulator_environ
from sglctl.config.capacity import GroupCapacity, Split
from sglctl.config.fleet import WarmPool
from sglctl.context import Context
from sglctl.core.plan_summary import Change
from sglctl.core.readiness import GroupState
from sglctl.core.workers import AgentState
from sglctl.errors import ConfigError, PreconditionError, StateLockedError
from sglctl.operations import scale
from sglctl.operations.scale import Request
from sglctl.operations.scale_wait import with_leaving
from tests.unit.cli.worker_world import make_group, worker

ROOT = Path(__file__).resolve().parents[3]


def group(name: str, low: int, high: int, desired: int, pool: WarmPool | None = None) -> Group:
    warm = (pool.min, pool.max_prepared) if pool else (None, None)
    return Group(
        name, "worker", "chat", low, high, desired, warm[0], warm_max_prepared=warm[1]
    )  # fmt: skip


BOTH = Split(GroupCapacity(1, 2, 1), GroupCapacity(0, 6, 3))
PRESENT = {"ondemand": group("a", 1, 2, 2), "spot": group("b", 0, 6, 5)}


POOL = WarmPool(min=1, max_prepared=3)


def test_desired_alone_is_not_terraforms() -> None:
    assert not scale.needs_terraform(PRESENT, BOTH, None)
    assert not scale.needs_terraform({**PRESENT, "ondemand": group("a", 1, 2, 2, POOL)}, BOTH, POOL)


@pytest.mark.parametrize(
    ("present", "pool"),
    [
        ({"ondemand": group("a", 0, 2, 1), "spot": group("b", 0, 6, 3)}, None),
        ({"ondemand": group("a", 1, 2, 1)}, None),
        (PRESENT, POOL),
        ({**PRESENT, "ondemand": group("a", 1, 2, 2, POOL)}, WarmPool(min=2, max_prepared=3)),
        ({**PRESENT, "ondemand": group("a", 1, 2, 2, POOL)}, WarmPool(min=1)),
    ],
)
def test_bounds_groups_and_warm_pools_are_terraforms(
    present: dict[str, Group], pool: WarmPool | None
) -> None:
    """Compared with what is there, so that an interrupted run is repaired by the next."""
    assert scale.needs_terraform(present, BOTH, pool)


def test_what_scaling_did_since_is_kept_unless_asked_for() -> None:
    """A new maximum must not undo what a scaling policy just did."""
    assert scale.desired_of(PRESENT, BOTH, asked=False) == {"ondemand": 2, "spot": 5}
    assert scale.desired_of(PRESENT, BOTH, asked=True) == {"ondemand": 1, "spot": 3}


def test_what_runs_moves_into_the_new_bounds() -> None:
    bounds = Split(GroupCapacity(3, 4, 3), GroupCapacity(0, 2, 0))
    assert scale.desired_of(PRESENT, bounds, asked=False) == {"ondemand": 3, "spot": 2}


def test_only_growth_within_present_bounds_starts_early() -> None:
    assert scale.early(PRESENT, {"ondemand": 3, "spot": 6}) == {"spot": 6}
    assert scale.early(PRESENT, {"ondemand": 1, "spot": 2}) == {}


def test_a_change_beyond_capacity_is_told_apart() -> None:
    sizes = Change("update", "aws_autoscaling_group", "g", ("max_size", "min_size"))
    alarm = Change("update", "aws_cloudwatch_metric_alarm", "a", ("threshold",))
    template = Change("update", "aws_launch_template", "t", ("image_id",))
    replaced = Change("replace", "aws_autoscaling_group", "g", ("min_size",))
    assert scale.beyond((sizes, alarm, template, replaced)) == [template, replaced]


def test_a_file_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "local.yaml"
    file.write_text("new from somebody else\n")
    with pytest.raises(PreconditionError, match="changed by somebody else"):
        scale.write(file, "old\n", "mine\n")
    assert file.read_text() == "new from somebody else\n"


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "local.yaml"
    file.write_text("old\n")
    file.chmod(0o640)
    scale.write(file, "old\n", "mine\n")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("mine\n", 0o640)


@pytest.mark.parametrize("error", [StateLockedError("locked"), KeyboardInterrupt()])
def test_a_scale_that_cannot_be_planned_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Whoever is told that the state is locked has nothing to tidy up."""

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(scale, "open_workspace", refuse)
    undone: list[str] = []
    anything: Any = None
    with pytest.raises(type(error)):
        scale._terraform(anything, anything, anything, "chat", lambda: undone.append("undo"))
    assert undone == ["undo"]


@pytest.mark.parametrize(
    ("lifecycle", "agent", "expected"),
    [
        ("Warmed:Pending:Wait", AgentState("draining", "", 3, 1), (1, 4)),
        ("Warmed:Pending:Wait", AgentState("ready", "", 2, 0), (1, 2)),
        ("Warmed:Pending:Wait", AgentState("hydrating", "", 0, 0), (0, 0)),
        ("Warmed:Pending:Proceed", AgentState("warmed", "", 0, 0), (0, 0)),
        ("Terminating:Wait", AgentState("draining", "", 3, 1), (0, 4)),
        ("Terminating:Wait", AgentState("unreachable"), (0, 0)),
    ],
)
def test_what_comes_back_into_the_pool_is_told_from_what_is_prepared(
    lifecycle: str, agent: AgentState, expected: tuple[int, int]
) -> None:
    one = replace(worker(lifecycle=lifecycle), agent=agent)
    found = with_leaving(GroupState(1, 1), [one])
    assert (found.returning, found.requests) == expected


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A checkout whose config/ may be changed; the default fleet is 1 to 4 workers."""
    monkeypatch.setenv("SGLCTL_STATE_DIR", str(tmp_path / "state"))
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return Context(tmp_path, "local", "text", yes=True, dry_run=False, verbose=False)


@pytest.fixture
def scaling(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The deployed group, in moto, with the bounds of the file."""
    environ = emulator_environ(os.environ, endpoint, "us-east-1")
    session = Session("us-east-1", "123456789012", endpoint, environ)
    monkeypatch.setattr(scale, "connected", lambda *_: session)
    make_group(session, GROUP, 1)
    client = session.client("autoscaling")
    client.update_auto_scaling_group(AutoScalingGroupName=GROUP, MinSize=1, MaxSize=4)
    yield client
    client.delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
    session.client("ec2").delete_launch_template(LaunchTemplateName=GROUP)


GROUP = "sgl-local-chat-ondemand"


def asked(**numbers: int) -> Request:
    names = ("min", "max", "desired", "warm_min", "warm_max_prepared")
    given = dict.fromkeys(names) | numbers
    return Request("chat", **given, wait=False, timeout_s=None)


def stands(context: Context, scaling: Any) -> tuple[str, int]:
    """The file's line of capacity, and the group's desired capacity."""
    text = (context.config_dir / "environments" / "local.yaml").read_text()
    (line,) = (line.strip() for line in text.splitlines() if "capacity:" in line)
    found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
    return line, found["AutoScalingGroups"][0]["DesiredCapacity"]


BEFORE = ("capacity: {min: 1, max: 4, desired: 1}", 1)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"desired": -1}, r"desired: must be greater than or equal to 0, not -1"),
        ({"desired": 5}, r"desired: 5 is more than max \(4\)"),
        ({"desired": 0}, r"desired: 0 is less than min \(1\)"),
        ({"min": 5}, r"min: 5 is more than max \(4\)"),
        ({"max": 1001}, r"max: must be less than or equal to 1000, not 1001"),
    ],
)
def test_numbers_out_of_bounds_name_their_place_and_change_nothing(
    context: Context, scaling: Any, numbers: dict[str, int], expected: str
) -> None:
    with pytest.raises(ConfigError, match=rf"local.yaml:\d+: fleets.chat.capacity.{expected}"):
        scale.scale(context, asked(**numbers))
    assert stands(context, scaling) == BEFORE


def test_a_dry_run_changes_nothing(context: Context, scaling: Any) -> None:
    dry = replace(context, dry_run=True)
    assert scale.scale(dry, asked(desired=3)) is None
    assert stands(context, scaling) == BEFORE


def test_file_and_group_are_scaled_together(context: Context, scaling: Any) -> None:
    done = scale.scale(context, asked(desired=3))
    assert done is not None
    assert (done.desired, done.in_service, done.prepared) == (3, None, None)
    assert stands(context, scaling) == ("capacity: {min: 1, max: 4, desired: 3}", 3)


def test_what_was_stopped_between_file_and_group_is_repaired_by_the_next_run(
    context: Context, scaling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scale, "_set_desired", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scale.scale(context, asked(desired=3))
    assert stands(context, scaling)[1] == 1
    scale.scale(context, asked(desired=3))
    assert stands(context, scaling) == ("capacity: {min: 1, max: 4, desired: 3}", 3)


def test_a_new_maximum_leaves_what_a_policy_wanted_meanwhile(
    context: Context, scaling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's line holds all three numbers; only those that were asked for count."""
    scaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=3)
    monkeypatch.setattr(scale, "_terraform", lambda *_: None)
    scale.scale(context, asked(max=6))
    assert stands(context, scaling) == ("capacity: {min: 1, max: 6, desired: 1}", 3)


def test_a_fleet_that_is_not_deployed_is_not_scaled(context: Context, scaling: Any) -> None:
    del scaling
    with pytest.raises(PreconditionError, match="local has no fleet 'caht'"):
        scale.scale(context, replace(asked(desired=2), fleet="caht"))
