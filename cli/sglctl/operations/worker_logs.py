"""A worker's log: its journal by Run Command, a process host's console from the emulator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import click

from sglctl import local
from sglctl.context import Context
from sglctl.core.workers import choose
from sglctl.errors import PreconditionError
from sglctl.operations.workers import Fleets, open_fleets, run_on_one

_TIMEOUT_S = 30.0
_POLL_S = 2.0
#: GetCommandInvocation keeps the first 24,000 characters of an answer; ours shall be the last.
_ANSWER_CHARACTERS = 23_000
_UNITS = ("sglworker", "sglang-engine", "sglang-engine-control")
_CURSOR = "-- cursor: "


def follow(context: Context, instance_id: str, lines: int, forever: bool) -> None:
    """Print the last lines, and go on until interrupted with `forever`.

    Raises PreconditionError for an unknown id, HostError when the host does not answer.
    """
    fleets = open_fleets(context)
    emulator = local.running(context)
    known = [worker.instance_id for worker in fleets.listed()]
    consoles = emulator is not None and (emulator.hosts == "processes" or instance_id not in known)
    if consoles:  # the emulator keeps those of ended hosts, too
        arguments = [instance_id, "--lines", str(lines), *(["--follow"] if forever else [])]
        code = local.follow_logs(context, arguments)
        if code not in (0, 130):
            raise PreconditionError(
                f"{context.environment} has no log of {instance_id}", hint="sglctl workers list"
            )
        return
    if instance_id not in known and not fleets.session.emulated:
        raise PreconditionError(
            f"{context.environment} has no worker {instance_id}",
            hint="of one that has ended: aws logs tail "
            f"/sglctl/{context.environment}/worker --log-stream-names {instance_id}",
        )
    choose(fleets.listed(), [instance_id], context.environment)
    for text in journal(lambda script: _ask(fleets, instance_id, script), lines, forever):
        click.echo(text)


def journal(
    ask: Callable[[str], str], lines: int, forever: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:  # fmt: skip
    """Lines of the worker's units; each further question starts after the last one's cursor."""
    script = script_of(f"--lines={lines}")
    while True:
        said = ask(script)
        found = said.splitlines()
        if len(said.encode()) >= _ANSWER_CHARACTERS:
            found[0] = "[earlier lines did not fit into one answer]"
        cursor = next((t.removeprefix(_CURSOR) for t in found if t.startswith(_CURSOR)), None)
        yield from (text for text in found if not text.startswith("-- "))
        if not forever:
            return
        if cursor is not None:
            script = script_of(f"--after-cursor='{cursor}'")
        sleep(_POLL_S)


def script_of(which: str) -> str:
    """https://www.freedesktop.org/software/systemd/man/latest/journalctl.html"""
    units = " ".join(f"--unit={name}" for name in _UNITS)
    return (
        f"found=$(journalctl {units} {which} --no-pager --output=short-iso --show-cursor) "
        f"|| exit; printf '%s\\n' \"$found\" | tail --bytes={_ANSWER_CHARACTERS}"
    )


def _ask(fleets: Fleets, instance_id: str, script: str) -> str:
    return run_on_one(fleets, instance_id, script, _TIMEOUT_S)
