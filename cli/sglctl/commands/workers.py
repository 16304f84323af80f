"""`sglctl workers`"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit, hand_over

_IDS = click.argument("workers", metavar="ID...", nargs=-1, required=True)
_TIMEOUT = click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), metavar="SECONDS",
    help="Longest wait (default: the drain's deadline and a little; 120 to become ready).",
)  # fmt: skip


@click.group("workers")
def command() -> None:
    """List, inspect, drain, undrain and terminate workers; timeline, logs, a shell on their hosts.

    Agents are asked by Run Command: no port of a worker needs to be open to you.
    """


@command.command("list")
@click.option("--fleet", metavar="NAME", help="Only this fleet's.")
@click.option("--state", metavar="STATE", help="Only those in this state (ready, draining ...).")
@common
def list_(context: Context, fleet: str | None, state: str | None) -> None:
    """List every worker: state, load, lifecycle; those of warm pools too.

    \b
    Examples:
      sglctl workers list
      sglctl workers list --env prod --fleet chat --state draining
    """
    from sglctl.operations.workers import list_workers

    _known_state(state)
    emit(list_workers(context, fleet, state), context.output)


def _known_state(state: str | None) -> None:
    from sglworker.models import StateName

    known = (*get_args(StateName), "unreachable", "stopped")
    if state is not None and state not in known:
        raise click.BadParameter(f"{state!r} is none of {', '.join(known)}", param_hint="--state")


@command.command("show")
@click.argument("worker", metavar="ID")
@common
def show(context: Context, worker: str) -> None:
    """Show all that Auto Scaling and the worker's agent say of one worker."""
    from sglctl.operations.workers import show_worker

    emit(show_worker(context, worker), context.output)


@command.command("timeline")
@click.argument("workers", metavar="[ID]...", nargs=-1)
@click.option("--fleet", metavar="NAME", help="Only this fleet's.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the drawing as an SVG, too.")  # fmt: skip
@click.option("--from", "saved", type=click.Path(path_type=Path, dir_okay=False), multiple=True,
              metavar="FILE", help="Draw a saved --output json again; several are joined.",
)  # fmt: skip
@common
def timeline(context: Context, workers: tuple[str, ...], fleet: str | None, svg: Path | None,
             saved: tuple[Path, ...]) -> None:  # fmt: skip
    """Draw how workers came into service: seconds of each phase, cold beside warm.

    Seconds count from the request that made the group launch: `request` until EC2 launched (or
    started) the instance, then the phases its agent tells, until it was ready. Of workers that
    wait in the warm pool: until they were prepared. With --from nothing is asked of AWS.

    \b
    Examples:
      sglctl workers timeline --fleet chat --svg timeline.svg
      sglctl workers timeline --output json > cold.json
      sglctl workers timeline --from cold.json --from warm.json --svg both.svg
    """
    from sglctl.operations import timeline as operation

    width = shutil.get_terminal_size((100, 24)).columns
    if saved:
        result = operation.load(saved, workers, fleet, width)
    else:
        result = operation.read(context, workers, fleet, width)
    if svg is not None and not context.dry_run:
        result.save_svg(svg)
    emit(result, context.output)


@command.command("drain")
@_IDS
@click.option("--wait", is_flag=True, help="Wait until all are drained.")
@click.option("--deadline", "deadline_s", type=click.FloatRange(min=0, max=172_800),
              metavar="SECONDS",
              help="Then cut what is in flight (default: the fleet's drain_deadline_s).",
)  # fmt: skip
@_TIMEOUT
@click.option("--force", is_flag=True, help="Also the last ready worker of a fleet, unasked.")
@common
def drain(context: Context, workers: tuple[str, ...], wait: bool, deadline_s: float | None,
          timeout_s: float | None, force: bool) -> None:  # fmt: skip
    """Take workers out of service; their instances stay.

    Routers choose others for new requests at once, requests in flight finish. Draining twice is
    draining once. Where no ready worker of a fleet would be left it asks, which --yes does not
    answer, only --force. All are drained, or none.

    \b
    Examples:
      sglctl workers drain i-0123456789abcdef0 --wait
      sglctl workers undrain i-0123456789abcdef0     and back
    """
    from sglctl.operations.drain import Options
    from sglctl.operations.drain import drain as run

    result = run(context, workers, Options(deadline_s, wait, timeout_s, force))
    if result is not None:
        emit(result, context.output)


@command.command("undrain")
@_IDS
@click.option("--wait", is_flag=True, help="Wait until all are ready.")
@_TIMEOUT
@common
def undrain(context: Context, workers: tuple[str, ...], wait: bool,
            timeout_s: float | None) -> None:  # fmt: skip
    """Bring drained workers back, also while they still drain.

    The drain of a termination, a Spot notice or a maintenance cannot be taken back.
    """
    from sglctl.operations.drain import Options
    from sglctl.operations.drain import undrain as run

    result = run(context, workers, Options(wait=wait, timeout_s=timeout_s))
    if result is not None:
        emit(result, context.output)


@command.command("logs")
@click.argument("worker", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Go on until interrupted.")
@click.option("--lines", "-n", type=click.IntRange(min=0, max=10_000), default=100,
              show_default=True, help="Lines to begin with.")  # fmt: skip
@common
def logs(context: Context, worker: str, follow: bool, lines: int) -> None:
    """Print what agent and engine of a worker logged: text, whatever --output says.

    One answer has at most 23,000 characters, the last ones. Of a worker that has ended: its
    console here (the last 20), CloudWatch's /sglctl/<env>/worker on AWS.
    """
    from sglctl.operations.worker_logs import follow as run

    hand_over()
    run(context, worker, lines, follow)


@command.command("terminate")
@_IDS
@click.option("--decrement", is_flag=True, help="Do not replace them: lower the desired number.")
@click.option("--wait", is_flag=True, help="Wait until their instances are gone.")
@_TIMEOUT
@click.option("--force", is_flag=True, help="Also the last ready worker of a fleet, unasked.")
@common
def terminate(context: Context, workers: tuple[str, ...], decrement: bool, wait: bool,
              timeout_s: float | None, force: bool) -> None:  # fmt: skip
    """Terminate workers; their groups launch others.

    They drain first: requests in flight finish, as long as the fleet's drain deadline. A drain
    that is on already goes on. Asks, unless --yes; where no ready worker of a fleet would be
    left it asks once more, which only --force answers. Instances of a warm pool are refused.

    \b
    Examples:
      sglctl workers terminate i-0123456789abcdef0 --wait
      sglctl workers terminate --env prod --yes --decrement i-0123456789abcdef0
    """
    from sglctl.operations.terminate import Options
    from sglctl.operations.terminate import terminate as run

    result = run(context, workers, Options(decrement, wait, timeout_s, force))
    if result is not None:
        emit(result, context.output)


@command.command("shell")
@click.argument("worker", metavar="ID")
@common
def shell(context: Context, worker: str) -> None:
    """Open a shell on a worker's host, and return its exit code.

    On AWS by Session Manager, which needs the AWS CLI and its Session Manager plugin; here by
    ssh, with a key that lives as long as the shell. Process hosts have no system to log in to.
    """
    from sglctl.operations.worker_shell import shell as run

    hand_over()
    if code := run(context, worker):
        raise click.exceptions.Exit(code)
