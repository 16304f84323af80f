"""Run a command to a deadline and keep the start of what it printed (Run Command's rules)."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from sglocal.hosts.driver import CommandResult

# "The first 24,000 characters": https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
OUTPUT_LIMIT = 24_000
TIMED_OUT = 124


def run_to_deadline(
    argv: Sequence[str],
    script: str,
    *,
    timeout_s: float,
    kill: Callable[[int], None],
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> CommandResult:
    """Run `argv` plus the path of a file that holds `script`.

    Returns when the command itself ends: what it left in the background may go on, its output is
    not waited for. After `timeout_s` seconds `kill(pid)` is called and the status is 124.
    """
    with tempfile.TemporaryFile() as text, _sink() as out, _sink() as err:
        text.write(script.encode())
        text.flush()
        text.seek(0)
        child = subprocess.Popen(
            [*argv, f"/dev/fd/{text.fileno()}"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=[text.fileno()],
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
        note = ""
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            kill(child.pid)
            child.wait()
            code, note = TIMED_OUT, f"\nsglocal: killed after {timeout_s:g} s"
        return CommandResult(code, _start(out), _start(err)[: OUTPUT_LIMIT - len(note)] + note)


def _sink() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _start(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(4 * OUTPUT_LIMIT).decode(errors="replace")[:OUTPUT_LIMIT]
