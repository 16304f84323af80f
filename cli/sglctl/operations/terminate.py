"""Terminate workers through their group, whose hook drains them first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from sglctl.aws.fleet_state import Group, groups
from sglctl.context import Context
from sglctl.core.workers import Worker, may_terminate, without_ready
from sglctl.errors import PreconditionError
from sglctl.operations.audit import audited
from sglctl.operations.display import live
from sglctl.operations.drain import GRACE_S, Changed, confirm_last, look, names, to_act_on, until
from sglctl.operations.workers import Fleets, open_fleets
from sglctl.output import is_interactive, say

#: Its own drain is under way, or not yet noticed; what it says besides is no obstacle.
_ON_THE_WAY = frozenset(
    {"booting", "hydrating", "starting", "warming_up", "ready", "draining", "drained", "warmed",
     "failed"}
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """`decrement`: the group shall have one less, instead of launching another."""

    decrement: bool = False
    wait: bool = False
    timeout_s: float | None = None
    force: bool = False


def terminate(context: Context, ids: Sequence[str], options: Options) -> Changed | None:
    """Requests in flight finish, as long as the fleet's drain deadline. None after a dry run.

    Raises PreconditionError, with nothing terminated, for a worker of a warm pool, for groups
    that would fall below their minimum, and without a yes.
    """
    fleets = open_fleets(context)
    found, chosen = fleets.choose(ids)
    todo = to_act_on([may_terminate(worker) for worker in chosen], "terminate")
    if options.decrement:
        _keep_minimum(groups(fleets.session, context.environment), todo)
    last = without_ready(found, todo)
    then = "their groups get smaller" if options.decrement else "their groups launch others"
    if context.dry_run:
        warning = f" Nobody would serve {', '.join(last)} until then." if last else ""
        say(f"Would terminate {names(todo) or 'nothing'}; {then}.{warning}")
        return None
    if todo:
        confirm_last(last, options.force, "Terminate")
        _confirm(context, f"Terminate {names(todo)}? They drain first; {then}.")
        _terminate(fleets, todo, options.decrement)
    wanted = [worker.instance_id for worker in chosen]
    if not options.wait:
        return Changed("terminate", look(fleets, wanted))
    longest = max(fleets.drain_deadline_s(worker.fleet) for worker in chosen)
    with live("Waiting until terminated") as line:
        seen = until(
            "gone", _ON_THE_WAY, lambda left: look(fleets, left), wanted,
            timeout_s=options.timeout_s or longest + 2 * GRACE_S, line=line,
        )  # fmt: skip
    return Changed("terminate", seen)


def _terminate(fleets: Fleets, workers: Iterable[Worker], decrement: bool) -> None:
    """One call each; the audit line has those that AWS took, also when a later one failed.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
    """
    scaling = fleets.session.client("autoscaling")
    done: list[str] = []
    with audited(fleets.context, "workers terminate", workers=done, decrement=decrement):
        for worker in workers:
            scaling.terminate_instance_in_auto_scaling_group(
                InstanceId=worker.instance_id, ShouldDecrementDesiredCapacity=decrement
            )
            done.append(worker.instance_id)
            say(f"{worker.instance_id} drains, then goes.")


def _keep_minimum(found: Iterable[Group], workers: Sequence[Worker]) -> None:
    for group in found:
        going = sum(worker.group == group.name for worker in workers)
        if going and group.desired - going < group.min:
            raise PreconditionError(
                f"{group.name} wants {group.desired} workers and may not have fewer than "
                f"{group.min}",
                hint="lower it first (sglctl scale --min), or leave --decrement out: another is "
                "launched then",
            )


def _confirm(context: Context, question: str) -> None:
    if context.yes:
        return
    if not is_interactive():
        raise PreconditionError("a termination wants a yes", hint="repeat with --yes")
    click.confirm(question, abort=True, err=True)
