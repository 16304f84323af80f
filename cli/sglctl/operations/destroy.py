"""Remove an environment: Terraform's resources, then the emulator where it is emulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from sglctl import local
from sglctl.aws import state_bucket
from sglctl.aws.session import connect
from sglctl.config.desired import Desired
from sglctl.config.loader import load
from sglctl.context import Context
from sglctl.errors import LocalError, PreconditionError
from sglctl.operations.audit import audited
from sglctl.operations.display import TerraformDisplay, live
from sglctl.operations.planning import make_plan
from sglctl.operations.workspace import Workspace, open_for_removal
from sglctl.output import is_interactive, say


@dataclass(frozen=True)
class Destroyed:
    environment: str
    resources: int
    emulator: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "resources": self.resources,
            "emulator": self.emulator,
        }

    def to_text(self) -> str:
        if not self.resources and not self.emulator:
            return f"{self.environment}: nothing to destroy."
        parts = [f"{self.resources} resources destroyed"] if self.resources else []
        parts += ["emulator removed"] if self.emulator else []
        return f"{self.environment}: {', '.join(parts)}."


def destroy(context: Context) -> Destroyed | None:
    """Remove everything; None for a dry run. Destroying nothing is no error."""
    desired = load(context.config_dir, context.environment)
    emulator = _running(context)
    if emulator is None and (desired.is_local or _had_emulator(context)):
        return _remove_emulator(context, 0)
    session = connect(context.environment, desired.environment, emulator)
    count = 0
    if state_bucket.exists(session, state_bucket.backend_of(session, context.environment).bucket):
        workspace = open_for_removal(context, desired, session)
        workspace.init(create_bucket=False)
        count = workspace.terraform.resources()
        if count:
            planned = make_plan(workspace, destroy=True)
            say(planned.summary.brief())
        if context.dry_run:
            say("Dry run: nothing was changed.")
            return None
        if count:
            _confirm(context, desired, session.emulated)
            _run(workspace, count)
    elif context.dry_run:
        say(f"{context.environment}: nothing to destroy.")
        return None
    if emulator is None:
        return Destroyed(context.environment, count, False)
    return _remove_emulator(context, count)


def _running(context: Context) -> local.Emulator | None:
    """A dead emulator lost its state with its memory: there is nothing left to plan against."""
    try:
        return local.running(context)
    except LocalError as error:
        say(f"{error.message}; removing what it left")
        return None


def _had_emulator(context: Context) -> bool:
    return local.read_endpoint(local.local_dir(context)) is not None


def _remove_emulator(context: Context, count: int) -> Destroyed | None:
    if context.dry_run:
        say(f"Would remove what the emulator left below {local.local_dir(context)}")
        return None
    with audited(context, "local down"):
        there = local.down(context)
    _forget_init(context)
    return Destroyed(context.environment, count, there)


def _forget_init(context: Context) -> None:
    """The next emulator has no state bucket: Terraform must connect anew."""
    (context.state_dir / "terraform" / "initialised").unlink(missing_ok=True)


def _confirm(context: Context, desired: Desired, emulated: bool) -> None:
    """Ask for the environment's name, so that no habitual `y` removes one."""
    if context.yes:
        return
    if not is_interactive():
        raise PreconditionError(
            "this asks for confirmation, and there is no terminal to ask on", hint="add --yes"
        )
    where = "on this machine" if emulated else f"in account {desired.environment.account or '?'}"
    typed = click.prompt(
        f"This removes {context.environment} {where} for good. Type its name to go on", err=True
    )
    if typed.strip() != context.environment:
        raise PreconditionError(f"{typed!r} is not {context.environment!r}: nothing was done")


def _run(workspace: Workspace, count: int) -> None:
    with (
        audited(workspace.context, "destroy", account=workspace.session.account, resources=count),
        live(f"Destroying {count} resources") as line,
        workspace.cancellable(),
    ):
        workspace.terraform.destroy(on_event=TerraformDisplay(line))
