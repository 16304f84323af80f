"""`sglctl events`"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit, hand_over

if TYPE_CHECKING:
    from sglctl.operations.events import Source


@click.command("events")
@click.option("--since", default="24h", show_default=True, metavar="WHEN",
              help="How long ago (90s, 30m, 2h, 7d), or an ISO time (without zone: UTC).",
)  # fmt: skip
@click.option("--follow", "-f", is_flag=True, help="Go on until interrupted.")
@click.option("--source", type=click.Choice(["all", "sglctl", "scaling"]), default="all",
              show_default=True, help="One history alone; `sglctl` needs no AWS.")  # fmt: skip
@common
def command(context: Context, since: str, follow: bool, source: Source) -> None:
    """Who did what when, newest last; times are UTC.

    Joins what sglctl changed from this machine (its audit log) with what Auto Scaling did to
    workers and routers and why. AWS keeps activities for six weeks. With --follow, JSON is one
    object a line.

    \b
    Examples:
      sglctl events --since 2h
      sglctl events --env prod --follow --output json | jq .what
    """
    from sglctl.core.events import parse_since
    from sglctl.operations import events

    try:
        start = parse_since(since, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(
            f"{since!r}: write 90s, 30m, 2h, 7d or 2026-11-21T10:00:00", param_hint="--since"
        ) from error
    read = events.history(context, source, start)
    if not follow:
        emit(events.History(tuple(read())), context.output)
        return
    hand_over()
    for event in events.follow(read):
        as_json = context.output == "json"
        click.echo(json.dumps(event.to_json()) if as_json else event.to_text())
