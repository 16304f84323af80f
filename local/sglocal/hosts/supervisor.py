"""The init of a process host: `python -m sglocal.hosts.supervisor CONFIG.json`.

Runs the host's services as systemd would (docs/reference/interfaces.md, "systemd units"): starts
one after the file it waits for exists, restarts it 2 s after a failure, gives up after 5 starts
within 30 s, starts and stops one as a file beside it says (as sglang-engine-control.path), and on
SIGTERM stops them in reverse order, SIGTERM to the main process only.
It outlives the emulator (as a container does), until a sweep; nothing outlives it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

RESTART_DELAY_S = 2.0
BURST = 5
BURST_WINDOW_S = 30.0
# How often a file that a service waits for is looked for; nothing is polled once all run.
POLL_S = 0.1
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# What systemd counts as a clean end of a service: SuccessExitStatus= in systemd.service(5).
CLEAN = (0, -signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGPIPE)
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGIO)


@dataclass
class Service:
    """A command of the host, and when it is to start (monotonic seconds; None: not again)."""

    name: str
    argv: list[str]
    after: Path | None = None
    wanted: Path | None = None  # a file that says `started` or `stopped`
    due: float | None = 0.0
    starts: list[float] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    held: bool = False  # the file said `stopped`

    def hold(self, now: float) -> bool:
        """Obey the file. True: the process is to be stopped, which is said once."""
        try:
            text = self.wanted.read_text().strip() if self.wanted is not None else ""
        except OSError:  # not written yet
            return False
        if text == "stopped" and not self.held:
            self.held, self.due = True, None
            return self.process is not None
        if text == "started" and self.held and self.process is None:
            self.held, self.due, self.starts = False, now, []
        return False

    def ready(self, now: float) -> bool:
        waits = self.after is not None and not self.after.exists()
        return self.process is None and self.due is not None and self.due <= now and not waits

    def ended(self, code: int, now: float) -> str:
        """Decide what follows an end; the line to log."""
        self.process, self.due = None, None
        if code in CLEAN or self.held:
            return f"{self.name} ended"
        self.starts = [start for start in self.starts if now - start < BURST_WINDOW_S]
        if len(self.starts) >= BURST:
            return (
                f"{self.name} failed with {code}, {BURST} times in {BURST_WINDOW_S:g} s: giving up"
            )
        self.due = now + RESTART_DELAY_S
        return f"{self.name} failed with {code}: again in {RESTART_DELAY_S:g} s"


class Supervisor:
    """Single-threaded; sleeps in sigtimedwait(2)."""

    def __init__(self, services: list[Service], log: Callable[[str], None]) -> None:
        self._services = services
        self._log = log
        self._libc = ctypes.CDLL(None, use_errno=True)

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for folder in {service.wanted.parent for service in self._services if service.wanted}:
            _watch(folder)
        while True:
            now = time.monotonic()
            for service in self._services:
                if service.hold(now) and service.process is not None:
                    self._log(f"{service.name} is told to stop")
                    os.kill(service.process.pid, signal.SIGTERM)
                if service.ready(now):
                    self._start(service, now)
            if self._wait(self._pause(now)):
                break
        for service in reversed(self._services):
            self._stop(service)

    def _pause(self, now: float) -> float:
        """Seconds until something may be due; an hour when everything runs."""
        pauses = [
            max(service.due - now, POLL_S if service.after else 0.0)
            for service in self._services
            if service.process is None and service.due is not None
        ]
        return min(pauses, default=3600.0)

    def _wait(self, seconds: float) -> bool:
        """Sleep, reap what ended; whether the host is told to stop."""
        received = signal.sigtimedwait(SIGNALS, seconds)
        self._reap()
        return received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for service in self._services:
                if service.process is not None and service.process.pid == pid:
                    code = os.waitstatus_to_exitcode(status)
                    service.process.returncode = code
                    _kill_group(pid)
                    self._log(service.ended(code, time.monotonic()))

    def _start(self, service: Service, now: float) -> None:
        service.starts.append(now)
        parent = os.getpid()

        def in_child() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        try:
            service.process = subprocess.Popen(
                service.argv,
                stdin=subprocess.DEVNULL,
                process_group=0,
                preexec_fn=in_child,  # safe: this process has one thread
            )
        except OSError as error:
            self._log(f"{service.name}: {error}")
            self._log(service.ended(127, now))
            return
        self._log(f"{service.name} started: {service.process.pid}")

    def _stop(self, service: Service) -> None:
        """SIGTERM, then wait for its end: whoever stops the host kills it when that is too long."""
        service.due = None
        if service.process is not None:
            # Not Popen.send_signal: it may reap, and the loop below would wait for ever.
            os.kill(service.process.pid, signal.SIGTERM)
        while service.process is not None:
            self._wait(3600.0)
            service.due = None  # an unclean end while stopping is no reason to start again


def _watch(folder: Path) -> None:
    """SIGIO whenever a file of the folder is written or renamed (F_NOTIFY of fcntl(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)  # open for this process's life
    changes = fcntl.DN_CREATE | fcntl.DN_MODIFY | fcntl.DN_RENAME | fcntl.DN_MULTISHOT
    fcntl.fcntl(descriptor, fcntl.F_NOTIFY, changes)


def _kill_group(pid: int) -> None:
    """What a service's main process left behind ends with it (KillMode=mixed)."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    services = [
        Service(one["name"], one["argv"], _path(one["after"]), _path(one["wanted"]))
        for one in config["services"]
    ]

    def log(line: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        sys.stdout.write(f"{stamp} supervisor: {line}\n")
        sys.stdout.flush()

    log(f"host {config['instance_id']} starts")
    Path(config["ready"]).touch()
    Supervisor(services, log).run()
    log("host stopped")


if __name__ == "__main__":
    main()
