"""The state folder: what a running emulator leaves for others to read, and its locks.

endpoint.json   how to reach it; exists once it answers
settings.json   what `up` was asked for; enough for `down` to remove everything
daemon.log      what the daemon logged
logs            consoles of the last hosts that ended
lock            held by `up` and `down` while they work
daemon.lock     held by the daemon for as long as it lives
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from sglocal.errors import LocalError

# Whoever looks whether a daemon runs holds its lock for a moment.
LOOK_S = 1.0


@dataclass(frozen=True)
class UpSettings:
    """What `sglocal up` was asked for, as settings.json keeps it."""

    state_dir: str
    cache_dir: str
    hosts: str
    account: str
    region: str
    port: int


class StateDir:
    """The files of one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.endpoint_file = self.folder / "endpoint.json"
        self.settings_file = self.folder / "settings.json"
        self.log_file = self.folder / "daemon.log"
        self.balancer = self.folder / "haproxy"
        self.tls = self.folder / "tls"

    def create(self) -> None:
        """Make the folder. Raises LocalError when that is not possible."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(f"cannot make {self.folder}: {error.strerror}") from error

    def settings(self) -> UpSettings | None:
        """What `up` was asked for, None when there was no `up`."""
        document = _read(self.settings_file)
        return None if document is None else UpSettings(**document)

    def endpoint(self) -> dict[str, Any] | None:
        """How to reach the emulator, None while there is none."""
        return _read(self.endpoint_file)

    def write_settings(self, settings: UpSettings) -> None:
        """Keep what `up` was asked for."""
        _write(self.settings_file, asdict(settings))

    def write_endpoint(self, document: dict[str, Any]) -> None:
        """Say how to reach the emulator."""
        _write(self.endpoint_file, document)

    def forget(self) -> None:
        """Remove what says that there is an emulator; logs stay."""
        self.endpoint_file.unlink(missing_ok=True)
        self.settings_file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def exclusive(self, timeout_s: float) -> Iterator[None]:
        """Only one `up` or `down` works at a time. Raises LocalError at the deadline."""
        self.create()
        with (self.folder / "lock").open("a") as handle:
            deadline = time.monotonic() + timeout_s
            while not _try_lock(handle):
                if time.monotonic() >= deadline:
                    raise LocalError(
                        f"another `sglocal up` or `down` works on {self.folder}; "
                        f"it did not finish in {timeout_s:.0f} s"
                    )
                time.sleep(0.1)
            yield

    def hold_daemon_lock(self) -> IO[str]:
        """For the daemon: the lock it keeps. Raises LocalError when another one runs."""
        handle = (self.folder / "daemon.lock").open("a")
        deadline = time.monotonic() + LOOK_S
        while not _try_lock(handle):
            if time.monotonic() >= deadline:
                handle.close()
                raise LocalError(f"an emulator already runs in {self.folder}")
            time.sleep(0.01)
        return handle

    def daemon_lives(self) -> bool:
        """Whether a daemon holds its lock (the kernel frees it when the daemon dies).

        Those who look at the same time do not take each other for one.
        """
        path = self.folder / "daemon.lock"
        if not path.exists():
            return False
        with path.open("a") as handle:
            return not _try_lock(handle, fcntl.LOCK_SH)


def _try_lock(handle: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LocalError(f"{path} cannot be read ({error}); run `sglocal down` again") from error
    return document


def _write(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(document, indent=2) + "\n")
    temporary.replace(path)
