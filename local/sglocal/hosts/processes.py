"""Process hosts: no root, no disk, no Ansible; each a supervisor with services on its 127.b.c.d."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sglocal.hosts import namespaces, process_table
from sglocal.hosts.driver import CommandResult, HostError, HostSpec, HostStatus
from sglocal.hosts.kept_logs import keep_log
from sglocal.hosts.names import checked_id, loopback_address
from sglocal.hosts.probe import status_of
from sglocal.hosts.process_host import (
    Layout,
    RoleCommands,
    environment,
    renew_run,
    write_host,
    write_identity,
)
from sglocal.hosts.runner import run_to_deadline
from sglocal.hosts.sweep import host_processes, sweep
from sglocal.hosts.tool import errors_of

START_DEADLINE_S = 20.0


@dataclass
class _Host:
    spec: HostSpec
    layout: Layout
    lock: threading.RLock = field(default_factory=threading.RLock)
    supervisor: subprocess.Popen[bytes] | None = None
    booting: bool = False


class ProcessDriver:
    """See `HostDriver`. A host's memory limit and image root mean nothing here."""

    name: Literal["containers", "processes"] = "processes"

    def __init__(self, state_dir: Path, commands: RoleCommands | None = None) -> None:
        self._state_dir = state_dir.resolve()
        self._commands = commands or RoleCommands()
        self._lock = threading.RLock()
        self._hosts: dict[str, _Host] = {}

    @property
    def haproxy_namespace(self) -> str | None:
        return None

    def prepare(self, cidr: str | None = None) -> None:
        (self._state_dir / "hosts").mkdir(parents=True, exist_ok=True)

    def address_for(self, private_ip: str) -> str:
        return loopback_address(private_ip)

    def ensure_network(self, cidr: str) -> None:
        """Nothing to do: all of 127.0.0.0/8 is local on Linux."""

    def listen(self, address: str, port: int) -> socket.socket:
        return namespaces.listening_socket(None, address, port)

    def http_status(self, address: str, port: int, path: str, *, timeout_s: float) -> int | None:
        return status_of(namespaces.tcp_socket(None), address, port, path, timeout_s)

    def launch(self, spec: HostSpec) -> None:
        layout = Layout(self._state_dir / "hosts" / checked_id(spec.instance_id))
        host = _Host(spec, layout, booting=True)
        with self._lock, errors_of(f"host {spec.instance_id}"):
            if spec.instance_id in self._hosts:
                raise HostError(f"host {spec.instance_id} exists already")
            layout.folder.mkdir(parents=True)
            self._hosts[spec.instance_id] = host
        with host.lock, errors_of(f"host {spec.instance_id}"):
            try:
                write_host(spec, layout, self._commands)
                self._boot(host)
            except BaseException:
                self._discard(host)
                raise

    def _boot(self, host: _Host) -> None:
        host.booting = True
        try:
            renew_run(host.layout)
            with host.layout.log.open("ab") as log:
                host.supervisor = subprocess.Popen(
                    [sys.executable, "-m", "sglocal.hosts.supervisor", str(host.layout.supervisor)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment(host.spec, host.layout),
                    cwd=host.layout.folder,
                    start_new_session=True,
                )
            identity = process_table.identify(host.supervisor.pid)
            if identity is not None:
                write_identity(host.layout, identity)
            self._await_ready(host, host.supervisor)
        finally:
            host.booting = False

    def _await_ready(self, host: _Host, supervisor: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not host.layout.ready.exists():
            if supervisor.poll() is not None or time.monotonic() > deadline:
                tail = host.layout.log.read_text(errors="replace")[-2000:]
                raise HostError(f"the supervisor of {host.spec.instance_id} did not start: {tail}")
            time.sleep(0.005)

    def stop(self, instance_id: str, *, graceful_s: float = 10.0) -> None:
        with self._locked(instance_id) as host:
            self._halt(host, graceful_s)

    def start(self, instance_id: str) -> None:
        with self._locked(instance_id) as host:
            if self.status(instance_id) == "running":
                raise HostError(f"host {instance_id} is running already")
            self._halt(host, 0.0)  # what outlived a supervisor that was killed
            self._boot(host)

    def terminate(self, instance_id: str, *, graceful_s: float = 0.0) -> None:
        host = self._hosts.get(instance_id)
        if host is None:
            return
        with host.lock, errors_of(f"host {instance_id}"):
            if instance_id in self._hosts:  # else another thread was faster
                self._halt(host, graceful_s)
                self._discard(host)

    def _halt(self, host: _Host, graceful_s: float) -> None:
        supervisor = host.supervisor
        if supervisor is not None and graceful_s > 0:
            supervisor.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                supervisor.wait(graceful_s)
        process_table.kill_all(lambda: host_processes(host.layout))
        if supervisor is not None:
            supervisor.wait(timeout=5)

    def _discard(self, host: _Host) -> None:
        self._halt(host, 0.0)
        keep_log(self._state_dir, host.spec.instance_id, host.layout.log)
        shutil.rmtree(host.layout.folder)
        with self._lock:
            self._hosts.pop(host.spec.instance_id, None)

    def status(self, instance_id: str) -> HostStatus:
        host = self._hosts.get(instance_id)
        if host is None:
            return "gone"
        if host.booting:
            return "booting"
        running = host.supervisor is not None and host.supervisor.poll() is None
        return "running" if running else "stopped"

    def hosts(self) -> Sequence[str]:
        with self._lock:
            return sorted(self._hosts)

    def run(self, instance_id: str, script: str, *, timeout_s: float) -> CommandResult:
        host = self._host(instance_id)
        if self.status(instance_id) != "running":
            raise HostError(f"host {instance_id} is not running")
        return run_to_deadline(
            ["/bin/bash"],
            script,
            timeout_s=timeout_s,
            kill=_kill_session,
            environment=environment(host.spec, host.layout),
            folder=host.layout.folder,
        )

    def snapshot(self, instance_id: str, destination: Path) -> None:
        """A process host has no disk: an image root without layers, only for process hosts."""
        self._host(instance_id)
        destination.mkdir(parents=True, exist_ok=True)
        manifest = {"version": 1, "base": None}
        (destination / "image.json").write_text(json.dumps(manifest) + "\n")

    def log_path(self, instance_id: str) -> Path:
        return Layout(self._state_dir / "hosts" / checked_id(instance_id)).log

    def close(self) -> None:
        with self._lock:
            hosts, self._hosts = list(self._hosts.values()), {}
        for host in hosts:
            self._halt(host, 0.0)
        sweep(self._state_dir)

    def _host(self, instance_id: str) -> _Host:
        try:
            return self._hosts[instance_id]
        except KeyError:
            raise HostError(f"there is no host {instance_id}") from None

    @contextmanager
    def _locked(self, instance_id: str) -> Iterator[_Host]:
        host = self._host(instance_id)
        with host.lock, errors_of(f"host {instance_id}"):
            self._host(instance_id)  # another thread may have terminated it meanwhile
            yield host


def _kill_session(leader: int) -> None:
    """Kill a script that overran its time, with everything in its session."""
    identity = process_table.identify(leader)
    if identity is None:
        return

    def members() -> list[process_table.Entry]:
        return process_table.session_members(identity, process_table.table(), identity.boot_id)

    process_table.kill_all(members)
