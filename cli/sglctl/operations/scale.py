"""Change a fleet's capacity: in its file, in its groups, and wait until it is routable."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sglctl.aws.fleet_state import Group, groups
from sglctl.aws.session import Session
from sglctl.config.capacity import GroupCapacity, Split, split
from sglctl.config.desired import Desired
from sglctl.config.edit import edit_capacity
from sglctl.config.fleet import Capacity, WarmPool
from sglctl.config.loader import load
from sglctl.context import Context
from sglctl.core.plan_summary import Change
from sglctl.errors import PreconditionError, SglctlError
from sglctl.operations.audit import audited
from sglctl.operations.planning import Planned, apply_plan, confirm, make_plan
from sglctl.operations.scale_wait import until_scaled
from sglctl.operations.workers import Fleets
from sglctl.operations.workspace import Workspace, connected, load_valid, open_workspace
from sglctl.output import say


@dataclass(frozen=True)
class Request:
    """What was asked for; None leaves a number as it is. `timeout_s` None: as long as launches."""

    fleet: str | None
    min: int | None
    max: int | None
    desired: int | None
    warm_min: int | None
    warm_max_prepared: int | None
    wait: bool
    timeout_s: float | None

    def numbers(self) -> dict[str, int]:
        given = {
            "min": self.min, "max": self.max, "desired": self.desired, "warm_min": self.warm_min,
            "warm_max_prepared": self.warm_max_prepared,
        }  # fmt: skip
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Scaled:
    """`in_service` and `prepared` (in the warm pool) are None where nothing was waited for."""

    environment: str
    fleet: str
    diff: str
    desired: int
    in_service: int | None
    prepared: int | None

    def to_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "fleet": self.fleet,
            "diff": self.diff,
            "desired": self.desired,
            "in_service": self.in_service,
            "prepared": self.prepared,
        }

    def to_text(self) -> str:
        served = "not waited for" if self.in_service is None else f"{self.in_service} in service"
        pool = f", {self.prepared} prepared in the warm pool" if self.prepared else ""
        return f"{self.environment}/{self.fleet}: {self.desired} workers wanted, {served}{pool}"


def scale(context: Context, request: Request) -> Scaled | None:
    """Edit, apply at once, wait; None for a dry run. Running it again converges."""
    before = load_valid(context)
    fleet = choose_fleet(before, request.fleet)
    file = context.config_dir / "environments" / f"{context.environment}.yaml"
    old = file.read_text(encoding="utf-8")
    new = edit_capacity(file, fleet, **request.numbers())
    diff = unified(old, new, file.name)
    say(diff.rstrip() or f"{file.name} says so already")
    after = load(context.config_dir, context.environment, text=new)
    session = connected(context, before)
    present = _present(session, context.environment, fleet)
    if context.dry_run:
        say("Dry run: nothing was changed.")
        return None
    both = split(after.environment.fleets[fleet])
    with audited(context, "scale", fleet=fleet, **request.numbers()):
        write(file, old, new)
        moved = _capacity(before, fleet).desired != _capacity(after, fleet).desired
        asked = moved or request.desired is not None
        if needs_terraform(present, both, after.environment.fleets[fleet].warm_pool):
            # Workers take longer than Terraform: what fits the present bounds starts now.
            grown = early(present, desired_of(present, both, asked))
            _set_desired(session, present, grown)

            def undo() -> None:
                write(file, new, old)
                now = _present(session, context.environment, fleet)
                _set_desired(session, now, {name: present[name].desired for name in grown})

            _terraform(context, after, session, fleet, undo)
            present = _present(session, context.environment, fleet)
        targets = desired_of(present, both, asked)
        _set_desired(session, present, targets)
    count = sum(targets.values())
    if not request.wait:
        return Scaled(context.environment, fleet, diff, count, None, None)
    warm = request.warm_min if request.warm_min is not None else 0
    seen = until_scaled(Fleets.of(context, after, session), fleet, count, warm, request.timeout_s)
    return Scaled(context.environment, fleet, diff, count, seen.in_service, seen.warm_ready)


def _capacity(desired: Desired, fleet: str) -> Capacity:
    return desired.environment.fleets[fleet].capacity


def choose_fleet(desired: Desired, wanted: str | None) -> str:
    """The named fleet, or the only one. Raises PreconditionError."""
    names = list(desired.environment.fleets)
    if wanted is not None and wanted in names:
        return wanted
    if wanted is None and len(names) == 1:
        return names[0]
    said = "has several fleets" if wanted is None else f"has no fleet {wanted!r}"
    raise PreconditionError(
        f"{desired.name} {said}", hint=f"--fleet with one of: {', '.join(names)}"
    )


def unified(old: str, new: str, name: str) -> str:
    """The change as a unified diff; empty when there is none."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), name, name, n=1
    )
    return "".join(lines)


def write(file: Path, old: str, new: str) -> None:
    """Replace the file whole, keeping its mode.

    Raises PreconditionError when somebody changed it meanwhile.
    """
    if file.read_text(encoding="utf-8") != old:
        raise PreconditionError(
            f"{file.name} was changed by somebody else meanwhile; nothing was done",
            hint="run the command again",
        )
    if old == new:
        return
    temporary = file.with_name(f".{file.name}.new")
    temporary.write_text(new, encoding="utf-8")
    os.chmod(temporary, file.stat().st_mode & 0o777)  # noqa: PTH101 - mode of another file
    temporary.replace(file)


def capacities(both: Split) -> dict[str, GroupCapacity]:
    """Group suffix → capacity; an absent Spot group is not there."""
    found = {"ondemand": both.on_demand}
    return found | {"spot": both.spot} if both.spot else found


def needs_terraform(present: Mapping[str, Group], both: Split, pool: WarmPool | None) -> bool:
    """Whether a group's bounds, its warm pool or its very existence differ from the file's.

    Desired capacity alone is not Terraform's. Pure.
    """
    wanted = capacities(both)
    if set(present) != set(wanted):
        return True
    first = present["ondemand"]
    numbers = (pool.min, pool.max_prepared) if pool else (None, None)
    return (first.warm_min, first.warm_max_prepared) != numbers or any(
        (present[name].min, present[name].max) != (capacity.min, capacity.max)
        for name, capacity in wanted.items()
    )


def desired_of(present: Mapping[str, Group], both: Split, asked: bool) -> dict[str, int]:
    """Group suffix → desired capacity to set.

    The file's, where it was asked for or moved; else what runs, within the new bounds (scaling
    may have changed it since). Pure.
    """
    return {
        name: capacity.desired
        if asked
        else min(max(present[name].desired, capacity.min), capacity.max)
        for name, capacity in capacities(both).items()
        if name in present
    }


def early(present: Mapping[str, Group], targets: Mapping[str, int]) -> dict[str, int]:
    """Of those, the ones that grow a group within its present bounds. Pure."""
    return {
        name: count
        for name, count in targets.items()
        if present[name].desired < count <= present[name].max
    }


def beyond(changes: tuple[Change, ...]) -> list[Change]:
    """Changes of a plan that are no change of capacity. Pure."""
    sizes = {"min_size", "max_size", "warm_pool", "desired_capacity", "warm_pool_size"}
    return [
        change
        for change in changes
        if change.kind != "aws_cloudwatch_metric_alarm"
        and not (
            change.kind == "aws_autoscaling_group"
            and change.risk == "update"
            and set(change.keys) <= sizes
        )
    ]


def _present(session: Session, environment: str, fleet: str) -> dict[str, Group]:
    prefix = f"sgl-{environment}-{fleet}-"
    found = {
        group.name.removeprefix(prefix): group
        for group in groups(session, environment)
        if group.fleet == fleet
    }
    if not found:
        raise PreconditionError(
            f"fleet {fleet} of {environment} is not deployed",
            hint=f"edit config/ and run: sglctl deploy --env {environment}",
        )
    return found


def _terraform(
    context: Context, after: Desired, session: Session, fleet: str, undo: Callable[[], None]
) -> None:
    """Plan only what depends on the fleet's capacity, and apply it.

    `undo` takes the edit back when nothing of it was applied: the state is locked, the plan
    fails, the answer is no.
    """
    targets = [f'module.worker_fleet["{fleet}"]', "module.observability"]
    try:
        workspace = open_workspace(context, after, session)
        workspace.init(create_bucket=False)
        planned = _agreed(workspace, targets)
    except (SglctlError, click.Abort, KeyboardInterrupt):
        undo()
        say("Nothing was scaled; the file is as it was.")
        raise
    if planned.changes:
        apply_plan(workspace, planned, targets)


def _agreed(workspace: Workspace, targets: list[str]) -> Planned:
    """The plan; asks where it changes more than capacity."""
    planned = make_plan(workspace, targets=targets)
    if more := beyond(planned.summary.changes):
        say(planned.to_text())
        confirm(workspace, f"{len(more)} changes are about more than capacity. Apply them too?")
    return planned


def _set_desired(
    session: Session, present: Mapping[str, Group], targets: Mapping[str, int]
) -> None:
    client = session.client("autoscaling")
    for suffix, count in targets.items():
        if present[suffix].desired != count:
            client.set_desired_capacity(
                AutoScalingGroupName=present[suffix].name,
                DesiredCapacity=count,
                HonorCooldown=False,
            )
