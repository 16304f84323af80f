"""`sglctl local`"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

import click

from sglctl.context import Context
from sglctl.core.table import table
from sglctl.options import common
from sglctl.output import emit, hand_over, say

HOSTS = click.Choice(["auto", "containers", "processes"])


@click.group("local")
def command() -> None:
    """The AWS on this machine: up, down, status, logs, env.

    For an AWS environment (--env prod) it stands in for that environment's account and region.
    """


@dataclass(frozen=True)
class LocalStatus:
    document: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return self.document

    def to_text(self) -> str:
        document = self.document
        if not document["running"]:
            return "not running"
        hosts = [
            (h["instance_id"], h["role"] or "-", h.get("fleet") or "-", h["address"],
             h.get("lifecycle_state") or h["state"])
            for h in document.get("hosts", [])
        ]  # fmt: skip
        lines = [f"running at {document['endpoint']}, hosts are {document['kind']}"]
        lines += table([("HOST", "ROLE", "FLEET", "ADDRESS", "STATE"), *hosts]) if hosts else []
        lines += [f"{b['name']} at {b['url'] or '-'}" for b in document.get("load_balancers", [])]
        return "\n".join(lines)


@command.command("up")
@click.option("--hosts", type=HOSTS, default="auto", show_default=True,
              help="What instances become; auto: containers where this machine can.")  # fmt: skip
@common
def up(context: Context, hosts: str) -> None:
    """Start the emulator, or repair what a crash left. Quick when it runs."""
    from sglctl import local
    from sglctl.operations.local_up import bring_up, choice_for
    from sglctl.operations.workspace import load_valid

    desired = load_valid(context)
    if context.dry_run:
        say(choice_for(context, desired, hosts).sentence())
        return
    bring_up(context, desired, hosts)
    emit(LocalStatus(local.status(context)), context.output)


@dataclass(frozen=True)
class Removed:
    """`there`: whether anything was."""

    there: bool

    def to_json(self) -> dict[str, bool]:
        return {"removed": self.there}

    def to_text(self) -> str:
        return "Removed." if self.there else "Nothing was running."


@command.command("down")
@common
def down(context: Context) -> None:
    """Remove the emulator and every host, also after a crash. State of Terraform goes too."""
    from sglctl import local
    from sglctl.operations.audit import audited

    if context.dry_run:
        say(f"Would remove everything below {local.local_dir(context)}")
        return
    with audited(context, "local down"):
        there = local.down(context)
    emit(Removed(there), context.output)


@command.command("status")
@common
def status(context: Context) -> None:
    """Hosts and load balancers of the emulator."""
    from sglctl import local

    emit(LocalStatus(local.status(context)), context.output)


@command.command("logs")
@click.argument("host", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on until interrupted.")
@click.option("--lines", "-n", type=click.IntRange(min=0), default=50, show_default=True,
              help="Lines to begin with.")  # fmt: skip
@common
def logs(context: Context, host: str | None, follow: bool, lines: int) -> None:
    """What the emulator logged, or what HOST printed (an instance id; of the last 20 ended too)."""
    from sglctl import local

    arguments = [*([host] if host else []), "--lines", str(lines)]
    hand_over()
    code = local.follow_logs(context, [*arguments, *(["--follow"] if follow else [])])
    raise click.exceptions.Exit(11 if code not in (0, 130) else code)


@command.command("env")
@common
def env(context: Context) -> None:
    """Print lines that point the AWS CLI at the emulator: eval "$(sglctl local env)"."""
    from sglctl import local
    from sglctl.aws.session import emulator_environ
    from sglctl.errors import LocalError

    emulator = local.running(context)
    if emulator is None:
        raise LocalError(
            f"no emulator runs for {context.environment}",
            hint=f"sglctl local up --env {context.environment}",
        )
    variables = emulator_environ({}, emulator.endpoint, emulator.region)
    if context.output == "json":
        emit(LocalVariables(variables), "json")
        return
    for name, value in sorted(variables.items()):
        click.echo(f"export {name}={shlex.quote(value)}")


@dataclass(frozen=True)
class LocalVariables:
    variables: dict[str, str]

    def to_json(self) -> dict[str, str]:
        return self.variables

    def to_text(self) -> str:  # pragma: no cover - text is printed as export lines
        return "\n".join(self.variables)
