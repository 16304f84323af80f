"""What each kind of error says, and its exit code."""

from __future__ import annotations

import errno
import os

import click
import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from sglctl.errors import StateLockedError
from sglctl.failure import failure_of


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/var/lib/x")


@pytest.mark.parametrize(
    ("error", "message", "hint", "code"),
    [
        (StateLockedError("locked by me", hint="wait"), "locked by me", "wait", 6),
        (_os_error(errno.ENOSPC), "/var/lib/x: the disk is full", "free space", 4),
        (OSError(errno.ENOSPC, "No space left"), "the disk is full", "(state)", 4),
        (_os_error(errno.EDQUOT), "/var/lib/x: your disk quota is used up", "free space", 4),
        (_os_error(errno.EACCES), "/var/lib/x: access is denied", "owner and mode", 4),
        (_os_error(errno.EROFS), "read-only", "another folder", 4),
        (
            ClientError(
                {"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "GetParameter"
            ),
            "AWS refused GetParameter: AccessDenied: not authorized",
            "use a role that has it",
            1,
        ),
        (
            EndpointConnectionError(endpoint_url="https://sts.example"),
            "https://sts.example",
            "check the network",
            1,
        ),
        (httpx.ConnectError("refused"), "the API did not answer: refused", "local status", 1),
        (KeyboardInterrupt(), "Interrupted", "", 130),
        (click.Abort(), "Interrupted", "", 130),
        (click.UsageError("no such thing"), "no such thing", "", 2),
        (ZeroDivisionError("x"), "unexpected ZeroDivisionError: x", "bug in sglctl", 1),
        (_os_error(errno.ENOENT), "unexpected FileNotFoundError", "bug in sglctl", 1),
    ],
)
def test_an_error_says_what_and_what_to_do(
    error: BaseException, message: str, hint: str, code: int
) -> None:
    failure = failure_of(error)
    assert message in failure.message
    assert hint in (failure.hint or "")
    assert failure.exit_code == code
