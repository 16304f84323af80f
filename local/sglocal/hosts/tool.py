"""Run one of the machine's tools (ip, mount, debootstrap) and turn a failure into a HostError."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sglocal.hosts.driver import HostError

# Tools here take milliseconds; this bounds a hung mount or a kernel that holds a lock.
DEADLINE_S = 30.0


def tool(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout_s: float = DEADLINE_S,
    environment: Mapping[str, str] | None = None,
) -> str:
    """What the command printed on stdout. Raises HostError with its stderr when it fails."""
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=environment,
            check=False,
        )
    except FileNotFoundError as error:
        raise HostError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{' '.join(argv)}: no end within {timeout_s:g} s") from error
    if done.returncode != 0:
        why = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise HostError(f"{' '.join(argv)}: {why}")
    return done.stdout


@contextmanager
def errors_of(what: str) -> Iterator[None]:
    """Turn what the system refuses inside (a full disk, say) into a HostError that names `what`."""
    try:
        yield
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{what}: {error}") from error
