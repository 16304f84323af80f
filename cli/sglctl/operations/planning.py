"""Plan and apply, for every command that changes infrastructure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click

from sglctl.aws.adoption import import_id
from sglctl.config.desired import Desired
from sglctl.core.cost import EnvironmentCost, hourly_cost
from sglctl.core.cost_change import CostChange, Price, cost_change
from sglctl.core.plan_summary import PlanSummary, summarise
from sglctl.errors import PreconditionError, TerraformError
from sglctl.operations.audit import audited
from sglctl.operations.display import TerraformDisplay, live
from sglctl.operations.planfile import PlanMeta
from sglctl.operations.workspace import Workspace
from sglctl.output import is_interactive, say
from sglctl.terraform.adapter import PlanResult


@dataclass(frozen=True)
class Planned:
    """A plan and what it means. `total`: cost of the whole environment as configured."""

    environment: str
    result: PlanResult
    summary: PlanSummary
    cost: CostChange
    total: EnvironmentCost

    @property
    def changes(self) -> bool:
        return self.result.changes

    def to_text(self) -> str:
        if not self.changes:
            return f"{self.environment}: no changes. What runs is what config/ describes."
        return f"{self.summary.to_text()}\n{self.cost.to_text()}\n({self.total.basis})"

    def to_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "changes": self.changes,
            "plan": self.summary.to_json(),
            "cost_change": self.cost.to_json(),
            "cost": self.total.to_json(),
        }


def make_plan(
    workspace: Workspace, *, destroy: bool = False, targets: list[str] | None = None
) -> Planned:
    """Plan into the state folder, with live progress."""
    file = workspace.context.state_dir / "plans" / "latest.tfplan"
    file.parent.mkdir(parents=True, exist_ok=True)
    with live("Planning") as line, workspace.cancellable():
        result = workspace.terraform.plan(
            file, destroy=destroy, targets=targets, on_event=TerraformDisplay(line)
        )
    file.chmod(0o600)
    return understand(workspace, result)


def understand(workspace: Workspace, result: PlanResult) -> Planned:
    desired = workspace.desired
    return Planned(
        environment=workspace.context.environment,
        result=result,
        summary=summarise(result.document),
        cost=cost_change(result.document, prices(desired)),
        total=hourly_cost(desired),
    )


def prices(desired: Desired) -> Price:
    """Instance type → USD per hour, None where the catalogue has none."""

    def price(instance_type: str) -> Decimal | None:
        instance = desired.instance(instance_type)
        if instance is None or instance.usd_per_hour is None:
            return None
        return Decimal(str(instance.usd_per_hour))

    return price


def meta_of(workspace: Workspace) -> PlanMeta:
    return PlanMeta(
        environment=workspace.context.environment,
        account=workspace.session.account,
        region=workspace.session.region,
        digest=workspace.digest,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def confirm(workspace: Workspace, question: str) -> None:
    """Ask on the terminal unless --yes. Raises PreconditionError where nobody can answer."""
    if workspace.context.yes:
        return
    if not is_interactive():
        raise PreconditionError(
            "this asks for confirmation, and there is no terminal to ask on",
            hint="add --yes",
        )
    click.confirm(question, abort=True, err=True)


def apply_plan(workspace: Workspace, planned: Planned, targets: list[str] | None = None) -> None:
    """Apply with live progress, and write the audit line.

    Where resources of an interrupted run stand in the way they are taken into the state, and
    the rest is planned and applied once more (`targets`: of the plan, for that).
    """
    try:
        _apply_once(workspace, planned)
    except TerraformError as error:
        if not _EXISTS.search(error.message) or not _adopt(workspace, planned):
            raise
        again = make_plan(workspace, targets=targets)
        if again.changes:
            say(again.summary.to_text())
            _apply_once(workspace, again)
    say("Applied.")


_EXISTS = re.compile(r"AlreadyExists|already (exists|in use|owned)|Duplicate", re.IGNORECASE)


def _apply_once(workspace: Workspace, planned: Planned) -> None:
    changes = planned.summary
    with (
        audited(
            workspace.context, "apply", account=workspace.session.account,
            emulated=workspace.session.emulated, plan=changes.headline(), digest=workspace.digest,
        ),
        live(f"Applying ({changes.headline()})") as line,
        workspace.cancellable(),
    ):  # fmt: skip
        # Terraform repeats what it planned before it begins, which gives the total.
        workspace.terraform.apply(planned.result.file, on_event=TerraformDisplay(line))


def _adopt(workspace: Workspace, planned: Planned) -> int:
    """Import what the plan wanted to create and what is there already; how many."""
    known = workspace.terraform.addresses()
    count = 0
    for raw in planned.result.document.get("resource_changes", []):
        if raw["change"]["actions"] != ["create"] or raw["address"] in known:
            continue
        identity = import_id(
            workspace.session, workspace.context.environment, raw["type"], raw["change"]["after"]
        )
        if identity is None:
            continue
        say(f"Taking {raw['address']} ({identity}), made by an interrupted run, into the state")
        with (
            audited(workspace.context, "import", address=raw["address"], id=identity),
            workspace.cancellable(),
        ):
            workspace.terraform.import_resource(raw["address"], identity)
        count += 1
    return count
