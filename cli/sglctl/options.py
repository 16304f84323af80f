"""The options every command takes, before or after its name: `sglctl --env dev plan --yes`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sglctl.context import Context, find_root
from sglctl.output import one_document

_OUTPUTS = ("text", "json")
_OPTIONS = [
    click.option("--env", "environment", metavar="NAME", default=None,
                 help="Environment: a file in config/environments. [SGLCTL_ENV, default: local]"),
    click.option("--output", type=click.Choice(_OUTPUTS), default=None,
                 help="How the result is printed on stdout. [SGLCTL_OUTPUT, default: text]"),
    click.option("--yes", "-y", is_flag=True, default=None, help="Do not ask for confirmation."),
    click.option("--dry-run", is_flag=True, default=None,
                 help="Print what would be done; change nothing."),
    click.option("--verbose", "-v", is_flag=True, default=None,
                 help="More talk; tracebacks of unexpected errors."),
    click.option("--root", default=None, metavar="DIR",
                 type=click.Path(path_type=Path, file_okay=False),
                 help="The repository. [SGLCTL_ROOT, default: found from here upwards]"),
]  # fmt: skip
_NAMES = ("environment", "output", "yes", "dry_run", "verbose", "root")


def add_common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command: it gets a `Context` as its first argument."""

    @add_common_options
    @click.pass_context
    @functools.wraps(function)
    def wrapper(ctx: click.Context, /, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in _NAMES}
        outer: dict[str, Any] = ctx.find_root().obj or {}
        merged = {n: given[n] if given[n] is not None else outer.get(n) for n in _NAMES}
        with one_document(_output(merged["output"])):
            return function(make_context(**merged), **kwargs)

    return wrapper


def make_context(
    environment: str | None = None,
    output: str | None = None,
    yes: bool | None = None,
    dry_run: bool | None = None,
    verbose: bool | None = None,
    root: Path | None = None,
) -> Context:
    """Flag > environment variable > default."""
    start = root or os.environ.get("SGLCTL_ROOT")
    return Context(
        root=find_root(Path(start).resolve() if start else Path.cwd()),
        environment=environment or os.environ.get("SGLCTL_ENV") or "local",
        output=_output(output),
        yes=bool(yes),
        dry_run=bool(dry_run),
        verbose=bool(verbose),
    )


def _output(given: str | None) -> str:
    """Raises UsageError when the environment variable says neither."""
    chosen = given or os.environ.get("SGLCTL_OUTPUT") or "text"
    if chosen not in _OUTPUTS:
        raise click.UsageError(f"SGLCTL_OUTPUT is {chosen!r}: write {' or '.join(_OUTPUTS)}")
    return chosen
