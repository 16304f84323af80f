"""`sglctl configure`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sglctl.ansible.inventory import LiveHost
    from sglctl.aws.session import Session
    from sglctl.config.desired import Desired
    from sglctl.local import Emulator


@click.command("configure")
@click.option("--fleet", metavar="NAME", help="Only the workers of this fleet.")
@click.option("--role", type=click.Choice(["worker", "router"]), help="Only hosts of this role.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Hosts at a time."
)
@click.option("--user", metavar="NAME", help="User of ssh (default: root here, ubuntu on AWS).")
@common
def command(context: Context, fleet: str | None, role: str | None, batch: int,
            user: str | None) -> None:  # fmt: skip
    """Run Ansible on live hosts, a few at a time, draining each first.

    Units, documents and journal limits are applied; software and weights stay as baked (hosts
    get new ones by being replaced). A worker is drained before and takes requests again after.
    The run's own ssh key is put on the hosts by Run Command and removed at the end.

    \b
    Examples:
      sglctl configure --env local --dry-run
      sglctl configure --env prod --fleet chat --batch 2
    """
    from sglctl.ansible.inventory import batches, live_hosts
    from sglctl.aws.session import connect
    from sglctl.config.loader import load
    from sglctl.local import running

    desired = load(context.config_dir, context.environment)
    if fleet is not None and fleet not in desired.environment.fleets:
        raise click.BadParameter(
            f"{context.environment} has no fleet {fleet!r}; it has "
            f"{', '.join(desired.environment.fleets)}",
            param_hint="--fleet",
        )
    emulator = running(context)
    _refuse_processes(emulator)
    session = connect(context.environment, desired.environment, emulator)
    hosts = [
        host
        for host in live_hosts(_reservations(session, context.environment))
        if role in (None, host.role) and fleet in (None, host.fleet)
    ]
    if context.dry_run:
        for group in batches(hosts, batch):
            say(f"Would configure {group[0].role}s {', '.join(h.instance_id for h in group)}")
        return
    if hosts and not context.yes:
        click.confirm(f"Configure {len(hosts)} hosts, {batch} at a time?", abort=True, err=True)
    emit(_configure(context, desired, session, emulator, user).run(hosts, batch), context.output)


def _refuse_processes(emulator: Emulator | None) -> None:
    from sglctl.errors import PreconditionError

    if emulator is not None and emulator.hosts == "processes":
        raise PreconditionError(
            "the hosts of this environment are processes: there is no system to configure",
            hint="use container hosts: sglctl local up --hosts containers (as root)",
        )


def _reservations(session: Session, environment: str) -> list[dict[str, Any]]:
    pages = session.client("ec2").get_paginator("describe_instances").paginate(
        Filters=[
            {"Name": "tag:sglctl:environment", "Values": [environment]},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]
    )  # fmt: skip
    return [reservation for page in pages for reservation in page["Reservations"]]


def _configure(context: Context, desired: Desired, session: Session, emulator: Emulator | None,
               user: str | None) -> Any:  # fmt: skip
    from sglctl.ansible.runner import AnsibleRunner
    from sglctl.aws.run_command import RunCommand
    from sglctl.operations.configure import Configure

    deadlines = [fleet.drain_deadline_s for fleet in desired.environment.fleets.values()]
    return Configure(
        commands=RunCommand(session.client("ssm")),
        runner=AnsibleRunner(context.root / "ansible", context.state_dir, session.environ),
        environment=context.environment,
        hub=emulator.hub if emulator else None,
        region=session.region,
        user=user or ("root" if session.emulated else "ubuntu"),
        variables=_variables(desired),
        drain_deadline_s=float(max(deadlines, default=60)),
        say=say,
    )


def _variables(desired: Desired) -> Callable[[LiveHost], Mapping[str, Any]]:
    """The role variables of a host: those its image was baked with."""
    from sglctl.config.render.images import (
        ROUTER_IMAGE,
        render_ansible,
        required_images,
        worker_image,
    )

    by_name = {need.name: render_ansible(desired, need) for need in required_images(desired)}

    def of(host: LiveHost) -> Mapping[str, Any]:
        if host.fleet is None:
            return by_name[ROUTER_IMAGE]
        return by_name[worker_image(desired.environment.fleets[host.fleet].model)]

    return of
