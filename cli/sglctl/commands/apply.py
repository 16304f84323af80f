"""`sglctl apply`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit, say

if TYPE_CHECKING:
    from sglctl.operations.planning import Planned
    from sglctl.operations.workspace import Workspace


@click.command("apply")
@click.argument(
    "plan_file", required=False, metavar="[FILE]",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)  # fmt: skip
@click.option(
    "--force-unlock",
    metavar="LOCK",
    help="Only give back the state lock with this id, whose holder is dead.",
)
@common
def command(context: Context, plan_file: Path | None, force_unlock: str | None) -> None:
    """Apply a plan: show it, ask, change.

    FILE is what `sglctl plan --out FILE` wrote; it is refused when config/, terraform/ or an
    image changed since. Without FILE a plan is made now.

    \b
    Examples:
      sglctl apply --env dev
      sglctl apply --env prod --yes prod.plan
    """
    from sglctl.operations.planning import apply_plan, confirm
    from sglctl.operations.workspace import open_for_removal, open_workspace, reach

    desired, session = reach(context)
    if force_unlock is not None:
        _unlock(open_for_removal(context, desired, session), force_unlock)
        return
    workspace = open_workspace(context, desired, session)
    workspace.init(create_bucket=not context.dry_run)
    planned = _planned(workspace, plan_file)
    emit(planned, context.output)
    if not planned.changes:
        return
    if context.dry_run:
        say("Dry run: nothing was changed.")
        return
    confirm(workspace, f"Apply this to {context.environment}?")
    apply_plan(workspace, planned)


def _planned(workspace: Workspace, plan_file: Path | None) -> Planned:
    from sglctl.operations import planfile
    from sglctl.operations.planning import make_plan, understand
    from sglctl.terraform.adapter import PlanResult

    if plan_file is None:
        return make_plan(workspace)
    plan, meta = planfile.read(plan_file, workspace.context.state_dir / "plans")
    planfile.refuse_stale(
        meta,
        environment=workspace.context.environment,
        account=workspace.session.account,
        region=workspace.session.region,
        digest=workspace.digest,
    )
    document = workspace.terraform.show(plan)
    planned = understand(workspace, PlanResult(plan, True, document))
    return understand(workspace, PlanResult(plan, not planned.summary.empty, document))


def _unlock(workspace: Workspace, lock_id: str) -> None:
    from sglctl.operations.audit import audited
    from sglctl.operations.planning import confirm

    if workspace.context.dry_run:
        say(f"Would give back the lock {lock_id}")
        return
    workspace.init(create_bucket=False)
    confirm(workspace, f"Give back the lock {lock_id}? Its run must be dead.")
    with audited(workspace.context, "force-unlock", lock=lock_id):
        workspace.terraform.force_unlock(lock_id)
    say(f"The lock {lock_id} was given back.")
