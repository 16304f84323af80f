"""`sglctl status`"""

from __future__ import annotations

import json
from dataclasses import dataclass

import click

from sglctl.context import Context
from sglctl.failure import INTERRUPTED
from sglctl.options import common
from sglctl.output import emit, hand_over, say


@dataclass(frozen=True)
class ApiKey:
    key: str

    def to_json(self) -> dict[str, str]:
        return {"key": self.key}

    def to_text(self) -> str:
        return self.key


@click.command("status")
@click.option("--show-key", is_flag=True, help="Print only the first API key.")
@click.option("--watch", "-w", is_flag=True,
              help="Again and again, until interrupted: load, tokens/s, cost.")  # fmt: skip
@click.option("--interval", "interval_s", type=click.FloatRange(min=0.5, max=3600), default=2,
              show_default=True, metavar="SECONDS", help="Between two looks of --watch.",
)  # fmt: skip
@common
def command(context: Context, show_key: bool, watch: bool, interval_s: float) -> None:
    """Show fleets, workers and routers.

    Groups as Auto Scaling has them, routers as the load balancer sees them, workers as their own
    agents say (asked by Run Command).

    With --watch: of each fleet its workers by state, streams, queue, generated tokens/s, cache
    hits and what its running instances cost by list price. In place on a terminal, else a line
    (with JSON: an object) for each look. Ends with Ctrl-C, exit code 130.

    \b
    Examples:
      sglctl status --env prod
      sglctl status --env prod --watch --interval 5
    """
    if watch and show_key:
        raise click.UsageError("--show-key and --watch exclude each other")
    if watch:
        _watch(context, interval_s)
    from sglctl.config.loader import load
    from sglctl.errors import PreconditionError
    from sglctl.operations.status import look
    from sglctl.operations.target import api_key
    from sglctl.operations.workspace import connected

    desired = load(context.config_dir, context.environment)
    session = connected(context, desired)
    if show_key:
        key = api_key(session, context.environment)
        if key is None:
            raise PreconditionError(
                f"{context.environment} has no API key yet",
                hint=f"sglctl deploy --env {context.environment} makes one",
            )
        emit(ApiKey(key), context.output)
        return
    emit(look(context, desired, session), context.output)


def _watch(context: Context, interval_s: float) -> None:
    from sglctl.operations import watch

    hand_over()
    try:
        if context.output == "json":
            watch.watch(context, interval_s, lambda s: click.echo(json.dumps(s.to_json())), say)
        with watch.screen() as (show, complain):
            watch.watch(context, interval_s, show, complain)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
