"""Container hosts: systemd-nspawn with systemd, sshd, an overlay disk and an address of its own."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal

from sglocal.hosts import mounts, namespaces
from sglocal.hosts.base import base_path, ensure_base
from sglocal.hosts.cgroups import Group, hierarchies
from sglocal.hosts.driver import CommandResult, HostError, HostSpec, HostStatus
from sglocal.hosts.hub import Hub
from sglocal.hosts.images import keep_image, layers_of
from sglocal.hosts.kept_logs import keep_log
from sglocal.hosts.machine import (
    Machine,
    enter_command,
    forget_machines,
    kill_host,
    kill_hosts,
    kill_script,
)
from sglocal.hosts.names import checked_id, host_namespace
from sglocal.hosts.probe import status_of
from sglocal.hosts.rootfs import write_identity
from sglocal.hosts.runner import run_to_deadline
from sglocal.hosts.sweep import sweep
from sglocal.hosts.tool import errors_of

LOGGER = logging.getLogger("sglocal.hosts")
GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class _Host:
    spec: HostSpec
    folder: Path
    machine: Machine
    lower: list[Path]
    lock: threading.RLock = field(default_factory=threading.RLock)
    loop: subprocess.Popen[bytes] | None = None
    booting: bool = False
    run_ids: Iterator[int] = field(default_factory=itertools.count)


class ContainerDriver:
    """See `HostDriver`. One lock for what hosts share, one for each host."""

    name: Literal["containers", "processes"] = "containers"

    def __init__(self, state_dir: Path, cache_dir: Path) -> None:
        self._state_dir = state_dir.resolve()
        self._cache_dir = cache_dir.resolve()
        self._hub = Hub(self._state_dir)
        self._lock = threading.RLock()
        self._networks: dict[IPv4Network, str] = {}
        self._hosts: dict[str, _Host] = {}

    @property
    def haproxy_namespace(self) -> str | None:
        return self._hub.name

    def prepare(self, cidr: str | None = None) -> None:
        with self._lock:
            ensure_base(self._cache_dir, LOGGER.info)
            self._hub.make()
            Group(hierarchies(), self._hub.name).make()
            if cidr is not None:
                self.ensure_network(cidr)

    def address_for(self, private_ip: str) -> str:
        return private_ip

    def ensure_network(self, cidr: str) -> None:
        with self._lock:
            router = self._hub.add_network(cidr)
            self._networks[IPv4Network(cidr)] = router

    def listen(self, address: str, port: int) -> socket.socket:
        return namespaces.listening_socket(self._hub.name, address, port)

    def http_status(self, address: str, port: int, path: str, *, timeout_s: float) -> int | None:
        probe = namespaces.tcp_socket(self._hub.name)
        return status_of(probe, address, port, path, timeout_s)

    def launch(self, spec: HostSpec) -> None:
        host = self._new_host(spec)
        with host.lock, errors_of(f"host {spec.instance_id}"):
            try:
                for part in ("upper", "work", "root"):
                    (host.folder / part).mkdir()
                self._mount(host)
                write_identity(host.machine.root, spec)
                self._boot(host)
            except BaseException:
                self._discard(host)
                raise

    def _new_host(self, spec: HostSpec) -> _Host:
        folder = self._state_dir / "hosts" / checked_id(spec.instance_id)
        self._router_for(spec)
        lower = layers_of(spec.image_root, base_path(self._cache_dir))
        group = Group(hierarchies(), f"{self._hub.name}/{spec.instance_id}")
        machine = Machine(spec.instance_id, folder / "root", folder / "console.log", group)
        host = _Host(spec, folder, machine, lower, booting=True)
        with self._lock, errors_of(f"host {spec.instance_id}"):
            if spec.instance_id in self._hosts:
                raise HostError(f"host {spec.instance_id} exists already")
            folder.mkdir(parents=True)
            self._hosts[spec.instance_id] = host
        return host

    def _router_for(self, spec: HostSpec) -> str:
        for network, router in list(self._networks.items()):
            if IPv4Address(spec.address) in network:
                return router
        raise HostError(f"{spec.instance_id}: no network holds {spec.address} (ensure_network)")

    def _mount(self, host: _Host) -> None:
        upper, work = host.folder / "upper", host.folder / "work"
        mounts.mount_overlay(host.lower, upper, work, host.machine.root)

    def _boot(self, host: _Host) -> None:
        host.booting = True
        try:
            spec = host.spec
            host.machine.group.make()
            if spec.memory_bytes is not None:
                host.machine.group.limit_memory(spec.memory_bytes)
            router = self._router_for(spec)
            with self._lock:
                namespace = self._hub.plug(
                    spec.instance_id, spec.address, spec.prefix_length, router
                )
            host.loop = host.machine.boot(namespace)
        finally:
            host.booting = False

    def stop(self, instance_id: str, *, graceful_s: float = 10.0) -> None:
        with self._locked(instance_id) as host:
            host.machine.power_off(graceful_s)
            self._release(host)

    def start(self, instance_id: str) -> None:
        with self._locked(instance_id) as host:
            if host.machine.group.populated():
                raise HostError(f"host {instance_id} is running already")
            self._release(host)  # what a guest that powered itself off still holds
            try:
                self._mount(host)
                self._boot(host)
            except BaseException:
                self._stop_now(host)
                raise

    def terminate(self, instance_id: str, *, graceful_s: float = 0.0) -> None:
        host = self._hosts.get(instance_id)
        if host is None:
            return
        with host.lock, errors_of(f"host {instance_id}"):
            if instance_id in self._hosts:  # else another thread was faster
                host.machine.power_off(graceful_s)
                self._discard(host)

    def _release(self, host: _Host) -> None:
        """Give back everything a host without processes holds, except its disk."""
        if host.loop is not None:
            host.loop.wait(timeout=5)
            host.loop = None
        host.machine.group.remove()
        mounts.unmount_below(host.folder)
        forget_machines(host_namespace(self._hub.name, host.spec.instance_id))
        with self._lock:
            self._hub.unplug(host.spec.instance_id)

    def _stop_now(self, host: _Host) -> None:
        kill_host(host.machine.group)
        self._release(host)

    def _discard(self, host: _Host) -> None:
        self._stop_now(host)
        keep_log(self._state_dir, host.spec.instance_id, host.machine.log)
        shutil.rmtree(host.folder)
        with self._lock:
            self._hosts.pop(host.spec.instance_id, None)

    def status(self, instance_id: str) -> HostStatus:
        host = self._hosts.get(instance_id)
        if host is None:
            return "gone"
        if host.booting:
            return "booting"
        return "running" if host.machine.group.populated() else "stopped"

    def hosts(self) -> Sequence[str]:
        with self._lock:
            return sorted(self._hosts)

    def run(self, instance_id: str, script: str, *, timeout_s: float) -> CommandResult:
        host = self._host(instance_id)
        leader = host.machine.leader()
        if leader is None:
            raise HostError(f"host {instance_id} is not running")
        group = host.machine.group.child(f"run-{next(host.run_ids)}")
        group.make()
        guest = {"PATH": GUEST_PATH, "HOME": "/root", "LANG": "C.UTF-8", **host.spec.environment}
        assignments = [f"{name}={value}" for name, value in guest.items()]
        try:
            return run_to_deadline(
                [
                    *enter_command(leader, group.procs_files()),
                    *("/usr/bin/env", "-i", *assignments, "/bin/bash"),
                ],
                script,
                timeout_s=timeout_s,
                kill=lambda pid: kill_script(group, pid),
                environment=os.environ,
            )
        finally:
            if (
                not group.populated()
            ):  # what the script left in the background lives on in its group
                group.remove()

    def snapshot(self, instance_id: str, destination: Path) -> None:
        with self._locked(instance_id) as host:
            if host.machine.group.populated():
                raise HostError(f"host {instance_id} is running: stop it before keeping its disk")
            destination.parent.mkdir(parents=True, exist_ok=True)
            keep_image(host.folder / "upper", host.lower, destination)

    def log_path(self, instance_id: str) -> Path:
        return self._state_dir / "hosts" / checked_id(instance_id) / "console.log"

    def close(self) -> None:
        with self._lock:
            hosts, self._hosts = list(self._hosts.values()), {}
            self._networks.clear()
        kill_hosts([host.machine.group for host in hosts])
        for host in hosts:
            if host.loop is not None:
                host.loop.wait(timeout=5)
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
