"""`sglctl scale`"""

from __future__ import annotations

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit

_COUNT = click.IntRange(min=0, max=1000)


@click.command("scale")
@click.option("--fleet", metavar="NAME", help="The fleet; may be left out where there is one.")
@click.option("--min", "minimum", type=_COUNT, help="Fewest workers.")
@click.option("--max", "maximum", type=_COUNT, help="Most workers.")
@click.option("--desired", type=_COUNT, help="Workers wanted now.")
@click.option("--warm-min", type=_COUNT, help="Fewest prepared instances of the warm pool.")
@click.option("--wait/--no-wait", default=True, show_default=True,
              help="Wait until the workers are routable, or gone.")  # fmt: skip
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), metavar="SECONDS",
              help="Longest wait (default: twice the fleet's launch timeout).")  # fmt: skip
@common
def command(context: Context, fleet: str | None, minimum: int | None, maximum: int | None,
            desired: int | None, warm_min: int | None, wait: bool,
            timeout_s: float | None) -> None:  # fmt: skip
    """Change a fleet's capacity.

    Edits the numbers in config/environments (comments stay), prints the difference, applies it
    at once and waits. The next `sglctl plan` shows no difference. Asks only when Terraform would
    change more than capacity.

    \b
    Examples:
      sglctl scale --min 2
      sglctl scale --env prod --fleet chat --max 12 --desired 6
    """
    from sglctl.operations.scale import Request, scale

    request = Request(fleet, minimum, maximum, desired, warm_min, wait, timeout_s)
    if not request.numbers():
        raise click.UsageError("give one of --min, --max, --desired, --warm-min")
    result = scale(context, request)
    if result is not None:
        emit(result, context.output)
