"""`sglctl`: options every command shares, lazy loading, errors to exit codes."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from typing import Any

import click

from sglctl.context import cache_home
from sglctl.failure import INTERRUPTED, Failure, failure_of
from sglctl.options import add_common_options

#: name -> first help line; a module is imported only when its command runs (start-up < 150 ms).
HELP_NAMES = ["-h", "--help"]
COMMANDS: dict[str, str] = {
    "apply": "Apply a plan.",
    "completion": "Print shell completion for bash, zsh or fish.",
    "config": "Print the JSON Schema, or every derived artefact.",
    "configure": "Run Ansible on live hosts, a few at a time, draining each first.",
    "deploy": "Validate, image, plan, apply, wait, test: everything.",
    "destroy": "Remove an environment.",
    "doctor": "Check (and install) the tools this machine needs.",
    "events": "Who did what when: sglctl's changes and scaling activities.",
    "image": "Build, list and inspect images.",
    "local": "The AWS on this machine: up, down, status, logs, env.",
    "plan": "Show what apply would change, and what it costs.",
    "scale": "Change a fleet's capacity.",
    "status": "Show fleets, workers and routers.",
    "test": "Test the endpoint.",
    "validate": "Check config/ without touching anything.",
    "version": "Print versions.",
    "workers": "List, inspect, drain, undrain, terminate workers; logs, shell.",
}


class LazyGroup(click.Group):
    """Lists commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"sglctl.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            meant = f" Did you mean '{close[0]}'?" if close else ""
            raise click.UsageError(f"No such command '{args[0]}'.{meant}", ctx=ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": HELP_NAMES},
    epilog="Start with: sglctl deploy --env local",
)
@add_common_options
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Run SGLang on plain AWS EC2, or rehearse it on this machine."""
    ctx.obj = options


def main() -> None:
    """Run, and map every error to one message and one exit code (see sglctl.errors)."""
    verbose = "--verbose" in sys.argv or "-v" in sys.argv
    # What `doctor --install` downloaded lies here; a tool of the system's own comes first.
    os.environ["PATH"] = os.environ.get("PATH", "") + f":{cache_home() / 'bin'}"
    try:
        code = cli.main(prog_name="sglctl", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except click.UsageError as error:
        error.show()
        code = error.exit_code
    except (Exception, KeyboardInterrupt) as error:
        code = _report(failure_of(error), verbose)
    sys.exit(code if isinstance(code, int) else 0)


def _report(failure: Failure, verbose: bool) -> int:
    """One message, the traceback on request; the exit code."""
    if verbose:
        traceback.print_exc()
    if failure.exit_code == INTERRUPTED:
        click.echo(failure.message, err=True)
        return INTERRUPTED
    click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(failure.message, err=True)
    if failure.hint:
        click.secho("  try: ", fg="cyan", nl=False, err=True)
        click.echo(failure.hint, err=True)
    return failure.exit_code
