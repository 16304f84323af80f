"""`sglctl scale`"""

from __future__ import annotations

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit


@click.command("scale")
@click.option("--fleet", metavar="NAME", help="The fleet; may be left out where there is one.")
@click.option("--min", "minimum", type=int, help="Fewest workers.")
@click.option("--max", "maximum", type=int, help="Most workers.")
@click.option("--desired", type=int, help="Workers wanted now.")
@click.option("--warm-min", type=int, help="Fewest prepared instances of the warm pool.")
@click.option("--warm-max-prepared", type=int,
              help="Most instances in service and prepared together.")  # fmt: skip
@click.option("--wait/--no-wait", default=True, show_default=True,
              help="Wait until the workers are routable, or drained and gone.")  # fmt: skip
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), metavar="SECONDS",
              help="Longest wait (default: two launches or one drain).")  # fmt: skip
@common
def command(context: Context, fleet: str | None, minimum: int | None, maximum: int | None,
            desired: int | None, warm_min: int | None, warm_max_prepared: int | None, wait: bool,
            timeout_s: float | None) -> None:  # fmt: skip
    """Change a fleet's capacity.

    Edits the numbers in config/environments (comments stay), prints the difference, applies it
    at once and waits. The next `sglctl plan` shows no difference. Asks only when Terraform would
    change more than capacity. Interrupted or timed out, the same command goes on from there.

    \b
    Examples:
      sglctl scale --min 2
      sglctl scale --env prod --fleet chat --max 12 --desired 6
      sglctl scale --env prod --fleet chat --warm-min 2 --warm-max-prepared 8
    """
    from sglctl.operations.scale import Request, scale

    request = Request(
        fleet, minimum, maximum, desired, warm_min, warm_max_prepared, wait, timeout_s
    )
    if not request.numbers():
        raise click.UsageError(
            "give one of --min, --max, --desired, --warm-min, --warm-max-prepared"
        )
    result = scale(context, request)
    if result is not None:
        emit(result, context.output)
