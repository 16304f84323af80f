"""`sglctl plan`"""

from __future__ import annotations

from pathlib import Path

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit, say


@click.command("plan")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the plan to FILE, for `sglctl apply FILE`.",
)
@common
def command(context: Context, out: Path | None) -> None:
    """Show what apply would change, riskiest first, and what it costs.

    Exit code 0: nothing to do. 2: changes. 1 or above 2: an error.

    \b
    Examples:
      sglctl plan --env prod --out prod.plan
      sglctl plan --env prod --output json
    """
    from sglctl.operations import planfile
    from sglctl.operations.planning import make_plan, meta_of
    from sglctl.operations.workspace import open_workspace, reach

    desired, session = reach(context)
    workspace = open_workspace(context, desired, session)
    workspace.init(create_bucket=not context.dry_run)
    planned = make_plan(workspace)
    if out is not None and not context.dry_run:
        planfile.write(out, planned.result.file, meta_of(workspace))
        say(f"Plan written to {out}; apply it with: sglctl apply --env {context.environment} {out}")
    emit(planned, context.output)
    if planned.changes:
        raise click.exceptions.Exit(2)
