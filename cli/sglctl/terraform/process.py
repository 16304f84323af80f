"""Runs one Terraform command: events as they come, a deadline, an end that leaves no lock.

Terraform answers the first SIGINT by finishing what is in flight and giving the lock back, and
the second by dying at once (https://developer.hashicorp.com/terraform/cli/commands/apply). It gets
a process group of its own, so that the terminal's Ctrl-C is not the second one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from sglctl.errors import PreconditionError, TerraformError, WaitTimeoutError
from sglctl.terraform.events import Diagnostic, Event, TextEvent, parse_line

OnEvent = Callable[[Event], None]

#: Seconds Terraform gets after SIGINT to finish what is in flight and unlock.
CANCEL_GRACE_S = 60.0
#: Lines kept of what is no diagnostic, for an error that has nothing else.
_TAIL_LINES = 15


class Cancelled(KeyboardInterrupt):
    """The run was interrupted. `clean`: Terraform ended by itself, so it has unlocked."""

    def __init__(self, clean: bool) -> None:
        super().__init__("interrupted")
        self.clean = clean


@dataclass(frozen=True)
class Completed:
    """`output` is filled only when no events were asked for (`output -json`, `show -json`)."""

    returncode: int
    output: str
    diagnostics: tuple[Diagnostic, ...]
    tail: str


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float,
    on_event: OnEvent | None = None,
    grace_s: float = CANCEL_GRACE_S,
) -> Completed:
    """Run to the end, whatever the exit code.

    Raises PreconditionError (no such program), WaitTimeoutError (deadline; Terraform was
    stopped), Cancelled (Ctrl-C or SIGTERM here; Terraform was stopped).
    """
    with tempfile.TemporaryFile("w+") as errors, _terminated_is_interrupted():
        process = _start(command, cwd, env, errors.fileno())
        overdue = threading.Event()
        timer = threading.Timer(timeout_s, _expire, (process, overdue))
        timer.daemon = True
        timer.start()
        try:
            output, seen, tail = _read(process, on_event)
            process.wait()
        except KeyboardInterrupt:
            raise Cancelled(stop(process, grace_s)) from None
        except BaseException:
            stop(process, grace_s)
            raise
        finally:
            timer.cancel()
            if process.stdout is not None:
                process.stdout.close()
        errors.seek(0)
        tail = [*tail, *errors.read().splitlines()][-_TAIL_LINES:]
    if overdue.is_set():
        raise WaitTimeoutError(
            f"terraform {command[1]} did not end within {timeout_s:.0f} s and was stopped",
            hint="run the command again: it continues from what was done",
        )
    return Completed(process.returncode, output, tuple(seen), "\n".join(tail))


def _start(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], stderr: int
) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            list(command), cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=stderr, text=True, encoding="utf-8",
            errors="replace", start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as error:
        if not cwd.is_dir():
            raise TerraformError(f"{cwd} does not exist") from error
        raise PreconditionError(
            "terraform is not installed", hint="sglctl doctor --install"
        ) from error


def _read(
    process: subprocess.Popen[str], on_event: OnEvent | None
) -> tuple[str, list[Diagnostic], list[str]]:
    assert process.stdout is not None
    if on_event is None:
        return process.stdout.read(), [], []
    seen: list[Diagnostic] = []
    tail: list[str] = []
    for line in process.stdout:
        event = parse_line(line)
        if event is None:
            continue
        if isinstance(event, Diagnostic):
            seen.append(event)
        elif isinstance(event, TextEvent) and event.message:
            tail = [*tail[-_TAIL_LINES:], event.message]
        on_event(event)
    return "", seen, tail


def _expire(process: subprocess.Popen[str], overdue: threading.Event) -> None:
    overdue.set()
    stop(process, CANCEL_GRACE_S)


def stop(process: subprocess.Popen[str], grace_s: float) -> bool:
    """SIGINT once, then SIGKILL to the whole group; True when it ended by itself.

    A second Ctrl-C while waiting kills at once.
    """
    if process.poll() is not None:
        return True
    _send(process.pid, signal.SIGINT)
    # Its pipe is drained meanwhile: a full one would keep it from ending. A descriptor of its own,
    # since ours is closed as soon as Terraform has ended.
    if process.stdout is not None and not process.stdout.closed:
        own = os.dup(process.stdout.fileno())
        threading.Thread(target=_drain, args=(own,), daemon=True).start()
    try:
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return True
            time.sleep(0.05)
    except KeyboardInterrupt:
        pass
    _send_group(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    return False


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    finally:
        os.close(descriptor)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _send_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM to sglctl stops Terraform as Ctrl-C does, instead of orphaning it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
