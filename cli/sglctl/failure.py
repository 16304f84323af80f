"""What a user is told about an error: one message, what to do, the exit code. Pure.

AWS's and HTTP's errors are recognised by class name: importing their libraries here would cost
every command its quick start.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from tempfile import gettempdir
from typing import Any

import click

from sglctl.context import cache_home, state_home
from sglctl.errors import PreconditionError, SglctlError

INTERRUPTED = 130
_INTERRUPTED = "Interrupted. Running the command again continues from here."
_AGAIN = "then run the command again: it goes on from here"

#: errno → (what it means, what to do). These are about the machine, not about sglctl.
_MACHINE: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", f"free space {{folders}}, {_AGAIN}"),
    errno.EDQUOT: ("your disk quota is used up", f"free space {{folders}}, {_AGAIN}"),
    errno.EROFS: ("the file system is read-only", "name another folder, see `sglctl --help`"),
    errno.EACCES: ("access is denied", "check owner and mode, or run as the user who owns it"),
    errno.EPERM: ("the operation is not permitted", "run as root, or as the user who owns it"),
    errno.EMFILE: ("too many files are open", f"raise the limit (ulimit -n 4096), {_AGAIN}"),
    errno.ENOMEM: ("the memory is used up", f"free memory, {_AGAIN}"),
}


@dataclass(frozen=True)
class Failure:
    """`hint` None: nothing better than the message is known."""

    message: str
    hint: str | None
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        return {"message": self.message, "hint": self.hint, "exit_code": self.exit_code}


def failure_of(error: BaseException) -> Failure:
    """Every error has one; what nobody foresaw is a bug of ours, and is told as one."""
    if isinstance(error, SglctlError):
        return Failure(error.message, error.hint, error.exit_code)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return Failure(
            "Interrupted. Running the command again continues from here.", None, INTERRUPTED
        )
    if isinstance(error, click.ClickException):
        return Failure(error.format_message(), None, error.exit_code)
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return _of_machine(error)
    return _of_network(error) or Failure(
        f"unexpected {type(error).__name__}: {error}",
        "this is a bug in sglctl; run again with --verbose and report it",
        1,
    )


def _of_machine(error: OSError) -> Failure:
    meaning, fix = _MACHINE[error.errno or 0]
    where = f"{error.filename}: " if error.filename else ""
    # A write does not say which file it was about; these are the folders that we write to.
    places = f"in {state_home()} (state), {cache_home()} (cache) or {gettempdir()}"
    folders = "there" if error.filename else places
    return Failure(f"{where}{meaning}", fix.format(folders=folders), PreconditionError.exit_code)


def _of_network(error: BaseException) -> Failure | None:
    """An API that refused (botocore's ClientError), or that nothing answers for."""
    from sglctl.terraform.diagnose import likely_fix

    names = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    if "botocore.ClientError" in names:
        said = getattr(error, "response", {}).get("Error", {})
        operation = getattr(error, "operation_name", "a call")
        text = f"{said.get('Code', '?')}: {said.get('Message', error)}"
        return Failure(f"AWS refused {operation}: {text}", likely_fix(text), 1)
    if names & {"botocore.BotoCoreError", "httpx.TransportError"}:
        return Failure(
            f"the API did not answer: {error}",
            "check the network; of an emulated environment: sglctl local status",
            1,
        )
    return None
