"""stdout is data, stderr is talk."""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol

import click


class Rendered(Protocol):
    """A command's result: what `--output json` and `--output text` print."""

    def to_json(self) -> Any: ...

    def to_text(self) -> str: ...


def emit(result: Rendered, output: str) -> None:
    """Print a result on stdout, as versioned JSON or as text."""
    if output == "json":
        document = {"version": 1, "result": result.to_json()}
        click.echo(json.dumps(document, indent=2, default=str))
    else:
        click.echo(result.to_text())


def say(message: str) -> None:
    """One line of talk, on stderr."""
    click.echo(message, err=True)


def is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
