"""stdout is data, stderr is talk.

With JSON stdout holds one document: `{"version": 1, "result": …}`, where the result is null when
a command only talked (a dry run), or `{"version": 1, "error": {"message", "hint", "exit_code"}}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click

from sglctl.failure import failure_of

_EMITTED = "sglctl.emitted"


class Rendered(Protocol):
    """A command's result: what `--output json` and `--output text` print."""

    def to_json(self) -> Any: ...

    def to_text(self) -> str: ...


def emit(result: Rendered, output: str) -> None:
    """Print a result on stdout, as versioned JSON or as text."""
    _mark()
    if output == "json":
        document = {"version": 1, "result": result.to_json()}
        click.echo(json.dumps(document, indent=2, default=str))
    else:
        click.echo(result.to_text())


def emit_raw(text: str) -> None:
    """Print what has a format of its own (a script, a schema), whatever --output says."""
    _mark()
    click.echo(text, nl=not text.endswith("\n"))


def hand_over() -> None:
    """stdout is another program's from here on (a log that is followed)."""
    _mark()


def _mark() -> None:
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[_EMITTED] = True


@contextmanager
def one_document(output: str) -> Iterator[None]:
    """Around a command: with JSON its stdout is one document, whatever happens."""
    if output != "json":
        yield
        return
    emitted = click.get_current_context().meta
    try:
        yield
    except (BrokenPipeError, click.exceptions.Exit):
        raise
    except (Exception, KeyboardInterrupt) as error:
        if not emitted.get(_EMITTED):
            click.echo(json.dumps({"version": 1, "error": failure_of(error).to_json()}, indent=2))
        raise
    if not emitted.get(_EMITTED):
        click.echo(json.dumps({"version": 1, "result": None}, indent=2))


def say(message: str) -> None:
    """One line of talk, on stderr."""
    click.echo(message, err=True)


def is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
