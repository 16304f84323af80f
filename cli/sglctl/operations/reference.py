"""docs/reference/cli.md: `python -m sglctl.operations.reference > docs/reference/cli.md`.

A test compares the file with this.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from sglctl import errors
from sglctl.main import COMMANDS, HELP_NAMES, cli

_INTRO = """\
# sglctl, command by command

Generated from the commands themselves by `python -m sglctl.operations.reference`; a test compares.

stdout is the result (`--output json` for programs), stderr is talk.
With JSON stdout is one document, `{"version": 1, "result": …}` (null when a dry run only talked)
or `{"version": 1, "error": {"message", "hint", "exit_code"}}`; what has a format of its own
(`completion`, `config schema`, `local logs`) is printed as it is, and a command line that cannot
be read is told on stderr only (exit code 2).
With `--dry-run` a command that changes something only prints what it would do;
without `--yes` it asks first.
Every change leaves a line in `audit.jsonl` of the environment's state folder
(`SGLCTL_STATE_DIR`, default `~/.local/state/sglctl`, then the environment's name).
Precedence: flag, environment variable, file, default.
"""

_MEANINGS = {
    1: "anything else that went wrong",
    2: "wrong usage; for `plan`: there are changes",
    130: "interrupted (Ctrl-C); running the command again goes on from there",
}


def exit_codes() -> dict[int, str]:
    """Code → meaning, from the tree in sglctl.errors."""
    found = dict(_MEANINGS)
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.SglctlError) and kind is not errors.SglctlError:
            line = next(t for t in (errors.__doc__ or "").splitlines() if name in t)
            found[kind.exit_code] = line.split(str(kind.exit_code), 1)[1].strip()
    return {0: "done", **dict(sorted(found.items()))}


def render() -> str:
    """The whole page."""
    lines = [_INTRO, "## Exit codes", "", "| Code | Meaning |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in exit_codes().items()]
    lines += ["", "## Options of every command", "", "Before or after the command's name.", ""]
    lines += [*_options(cli, skip=())]
    common = tuple(parameter.name for parameter in cli.params if parameter.name)
    with click.Context(cli, info_name="sglctl", help_option_names=HELP_NAMES) as context:
        for name in sorted(COMMANDS):
            command = cli.get_command(context, name)
            assert command is not None
            lines += _section(command, f"sglctl {name}", common)
    return "\n".join(lines).rstrip() + "\n"


def _section(command: click.Command, path: str, common: tuple[str, ...]) -> list[str]:
    with click.Context(command, info_name=path, help_option_names=HELP_NAMES) as context:
        usage = " ".join(command.collect_usage_pieces(context))
    lines = ["", f"## {path}", "", f"`{path} {usage}`", "", *_help(command)]
    if options := list(_options(command, skip=common)):
        lines += ["", *options]
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            lines += _section(command.commands[name], f"{path} {name}", common)
    return lines


def _help(command: click.Command) -> Iterator[str]:
    """The help text; a paragraph after `\\b` keeps its lines, as in the terminal."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    for index, paragraph in enumerate(paragraphs):
        if index:
            yield ""
        if paragraph.startswith("\b"):
            yield from ("```", *paragraph.splitlines()[1:], "```")
        else:
            yield from paragraph.splitlines()


def _options(command: click.Command, skip: tuple[str, ...]) -> Iterator[str]:
    rows = []
    with click.Context(command, info_name="x", help_option_names=HELP_NAMES) as context:
        for parameter in command.get_params(context):
            if parameter.name in (*skip, "help") or not isinstance(parameter, click.Option):
                continue
            record = parameter.get_help_record(context)
            if record is not None:
                rows.append(tuple(text.replace("|", "\\|") for text in record))
    if rows:
        yield from ("| Option | Meaning |", "|---|---|")
        yield from (f"| `{flags}` | {meaning} |" for flags, meaning in rows)


if __name__ == "__main__":
    click.echo(render(), nl=False)
