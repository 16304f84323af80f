"""Programs a run starts: pinned to a core, measured by /proc, ended whatever happens.

Each program leads a session of its own, so that its children are found and ended with it;
a parent-death signal ends it even when the benchmark itself was killed.
Linux only: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_END_S = 5.0


@dataclass(frozen=True)
class Usage:
    """What a session has used: CPU seconds so far (10 ms steps), resident bytes now."""

    cpu_s: float
    resident: int


@dataclass(frozen=True)
class Program:
    """A started program; `process.pid` is also its session's id."""

    process: asyncio.subprocess.Process
    log: Path | None

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def tail(self) -> str:
        """The end of what it wrote, for an error message."""
        return "" if self.log is None else self.log.read_text(errors="replace")[-2000:]


def cores() -> tuple[int, int]:
    """(the router's core, everyone else's). Raises RuntimeError on a machine with one core."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise RuntimeError("two cores are needed: one for the router, one for load and workers")
    return usable[0], usable[1]


def raise_file_limit() -> None:
    """Thousands of connections: take what the system allows; programs inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def members(session: int) -> list[tuple[int, list[str]]]:
    """(pid, fields of its stat line after the name) of a session's processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        if int(fields[3]) == session:
            found.append((int(entry.name), fields))
    return found


def usage(session: int) -> Usage:
    """Of a program with its children, ended ones included. Raises RuntimeError when it is gone."""
    processes = members(session)
    if not processes:
        raise RuntimeError(f"process {session} is gone")
    ticks = sum(int(value) for _, fields in processes for value in fields[11:13])
    leader = next((fields for pid, fields in processes if pid == session), None)
    if leader is not None:
        ticks += sum(int(value) for value in leader[13:15])
    pages = sum(int(fields[21]) for _, fields in processes)
    return Usage(ticks / _TICK, pages * _PAGE)


@asynccontextmanager
async def program(
    argv: Sequence[str],
    *,
    core: int,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    piped: bool = False,
) -> AsyncIterator[Program]:
    """Run `argv` on one core until the block ends; output goes to `log`, or to pipes."""
    output = None if log is None else log.open("wb")
    try:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "TERM", "--", "taskset", "-c", str(core), *argv),
            stdin=asyncio.subprocess.PIPE if piped else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if piped else output,
            stderr=None if piped else asyncio.subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    finally:
        if output is not None:
            output.close()
    try:
        yield Program(process, log)
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, five seconds, then SIGKILL to whatever is left of its session."""
    try:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(_END_S):
                await process.wait()
    except TimeoutError:
        pass
    finally:  # also when this wait itself is cancelled
        for pid, _ in members(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    await process.wait()
