"""Errors of the agent, and the exit code each one means.

    WorkerError            1  anything else that went wrong
    ├── DocumentError      3  the host's or the fleet's document is wrong: which key, and why
    ├── BootError          4  metadata, the fleet's document or the model cannot be read
    └── NotAllowedError    1  the agent refused (an undrain of a drain that is not the operator's)

`sglworker drain --wait` exits 3 when its deadline passes; that is a result, not an error.
"""

from __future__ import annotations


class WorkerError(Exception):
    """What went wrong, where, and what to do about it, in one sentence."""

    exit_code = 1


class DocumentError(WorkerError):
    exit_code = 3


class BootError(WorkerError):
    """Permanent: waiting longer would not help."""

    exit_code = 4


class UnreachableError(WorkerError):
    """One read failed (metadata, AWS, engine); the last known answer stays in force."""


class NotAllowedError(WorkerError):
    pass
