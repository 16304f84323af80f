"""The HAProxy process: started, reloaded without cutting a stream, asked for its sessions.

Master-worker mode: SIGUSR2 starts a new worker and the old one ends when its last stream has.
https://docs.haproxy.org/2.6/management.html#9.4
"""

from __future__ import annotations

import csv
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from sglocal.errors import LocalError, MissingToolError

log = logging.getLogger(__name__)

CONFIG, SOCKET, PID = "haproxy.cfg", "master.sock", "haproxy.pid"
RELOAD_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Worker:
    """One HAProxy worker process. `current`: it accepts new connections."""

    pid: int
    current: bool


def binary() -> str:
    """The haproxy program. Raises MissingToolError."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise MissingToolError("haproxy", "haproxy")
    return found


class HAProxy:
    """One master process whose files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the master is alive."""
        return self._process is not None and self._process.poll() is None

    def apply(self, config: str) -> None:
        """Serve `config`: start, or reload. Raises LocalError when HAProxy refuses it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        candidate = self.folder / "candidate.cfg"
        candidate.write_text(config)
        check = subprocess.run(
            [binary(), "-c", "-q", "-f", candidate.name],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if check.returncode != 0:
            raise LocalError(f"haproxy refuses its configuration: {check.stderr.strip()}")
        candidate.replace(self.folder / CONFIG)
        if self.running:
            self._reload()
        else:
            self._start()

    def _start(self) -> None:
        with (self.folder / "haproxy.log").open("ab") as output:
            self._process = subprocess.Popen(
                [binary(), "-W", "-f", CONFIG, "-S", f"unix@{SOCKET}"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        (self.folder / PID).write_text(f"{self._process.pid}\n")
        self._await_worker(other_than=None)

    def _reload(self) -> None:
        assert self._process is not None
        before = next((w.pid for w in self.workers() if w.current), None)
        self._process.send_signal(signal.SIGUSR2)
        self._await_worker(other_than=before)

    def _await_worker(self, *, other_than: int | None) -> None:
        deadline = time.monotonic() + RELOAD_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.running:
                break
            try:
                if any(w.current and w.pid != other_than for w in self.workers()):
                    return
            except OSError:
                pass  # the master is not listening yet, or starts over
            time.sleep(0.02)
        tail = (self.folder / "haproxy.log").read_text(errors="replace").splitlines()[-3:]
        raise LocalError("haproxy did not start a worker: " + " / ".join(tail))

    def workers(self) -> list[Worker]:
        """Current and old workers, as the master lists them."""
        workers, current = [], True
        for line in self.command("show proc").splitlines():
            if line.startswith("# old workers"):
                current = False
            fields = line.split()
            if len(fields) > 1 and fields[0].isdigit() and fields[1] == "worker":
                workers.append(Worker(int(fields[0]), current))
        return workers

    def set_state(self, pool: str, target_id: str, state: str) -> None:
        """Let a target take new requests (`ready`) or only finish what it has (`drain`)."""
        answer = self.command(f"@1 set server {pool}/{target_id} state {state}").strip()
        if answer:
            raise LocalError(f"haproxy: set server {pool}/{target_id} state {state}: {answer}")

    def sessions(self) -> dict[str, int]:
        """Open sessions by target id, over current and old workers."""
        totals: dict[str, int] = {}
        for worker in self.workers():
            text = self.command(f"@!{worker.pid} show stat").lstrip("# ")
            for row in csv.DictReader(text.splitlines()):
                if row.get("svname") not in (None, "FRONTEND", "BACKEND"):
                    name, count = str(row["svname"]), int(row.get("scur") or 0)
                    totals[name] = totals.get(name, 0) + count
        return totals

    def command(self, text: str) -> str:
        """One command to the master's socket. Raises OSError when it does not answer."""
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(COMMAND_TIMEOUT_S)
                # Through /proc: a socket's path may have 107 characters at most.
                connection.connect(f"/proc/self/fd/{folder}/{SOCKET}")
                connection.sendall(f"{text}\n".encode())
                connection.shutdown(socket.SHUT_WR)
                parts = []
                while part := connection.recv(65536):
                    parts.append(part)
        finally:
            os.close(folder)
        return b"".join(parts).decode()

    def stop(self) -> None:
        """End the master and its workers at once."""
        if self._process is not None:
            if self.running:
                self._process.terminate()
                try:
                    self._process.wait(5.0)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait(5.0)
            self._process = None
        sweep(self.folder)


def sweep(folder: Path) -> None:
    """End HAProxy processes of this folder that a dead daemon left behind."""
    for pid in _pids(folder):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    (folder / PID).unlink(missing_ok=True)
    (folder / SOCKET).unlink(missing_ok=True)


def _pids(folder: Path) -> list[int]:
    """Processes called haproxy whose working directory is the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            same = (entry / "cwd").readlink() == folder.resolve()
            if same and (entry / "comm").read_text().strip() == "haproxy":
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return found
