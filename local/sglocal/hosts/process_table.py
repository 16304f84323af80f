"""Find and kill exactly the processes of process hosts, also after the emulator was killed.

A host's processes share a session (led by its supervisor) and carry the variable SGLOCAL_HOST.
A session's id is not given to a new process while the session has members, so a session whose
leader is absent, or is still the recorded process, is ours; one led by a younger process is not.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sglocal.hosts.driver import HostError

MARKER = "SGLOCAL_HOST"
KILL_DEADLINE_S = 5.0


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for another: start in clock ticks after boot `boot_id`."""

    pid: int
    start: int
    boot_id: str


@dataclass(frozen=True)
class Entry:
    """One line of the process table."""

    pid: int
    state: str
    session: int
    start: int


def parse_stat(text: str) -> Entry:
    """/proc/<pid>/stat; the command's name may hold blanks and parentheses.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(")")[2].split()
    return Entry(int(pid), fields[0], int(fields[3]), int(fields[19]))


def entry(pid: int) -> Entry | None:
    """The process, None when it is gone or only waits to be reaped."""
    try:
        found = parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if found.state in "ZX" else found


def table() -> list[Entry]:
    numbers = (name for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - names only
    return [found for name in numbers if (found := entry(int(name))) is not None]


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    found = entry(pid)
    return None if found is None else Identity(pid, found.start, boot_id())


def session_members(leader: Identity, entries: list[Entry], boot: str) -> list[Entry]:
    """The processes of the leader's session, whether or not the leader still lives."""
    if boot != leader.boot_id:
        return []
    if any(one.pid == leader.pid and one.start != leader.start for one in entries):
        return []  # the number was recycled: the whole session is gone
    return [one for one in entries if one.session == leader.pid and one.start >= leader.start]


def marked(folder: Path, entries: list[Entry]) -> list[Entry]:
    """The processes whose SGLOCAL_HOST is `folder` or lies below it."""
    exact = f"{MARKER}={folder}".encode()
    return [
        one
        for one in entries
        if any(
            variable == exact or variable.startswith(exact + b"/") for variable in _environ(one.pid)
        )
    ]


def _environ(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone, or another user's: not ours
        return []


def kill_all(find: Callable[[], list[Entry]]) -> None:
    """SIGKILL what `find` returns until it returns nothing. Raises HostError after 5 s."""
    deadline = time.monotonic() + KILL_DEADLINE_S
    while found := find():
        for one in found:
            _kill(one)
        if time.monotonic() > deadline:
            raise HostError(f"processes do not die: {sorted(one.pid for one in found)}")
        time.sleep(0.005)


def _kill(one: Entry) -> None:
    """Kill through a handle taken before the start time is compared: never a recycled id."""
    try:
        handle = os.pidfd_open(one.pid)
    except ProcessLookupError:
        return
    try:
        now = entry(one.pid)
        if now is not None and now.start == one.start:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
