"""Metadata servers: one for all containers, one for each process host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sglocal.aws.emulator import Emulator
from sglocal.aws.fault_list import METADATA, Fault, FaultList
from sglocal.aws.host_spec import PROCESS_METADATA_PORT
from sglocal.aws.instances import InstanceHosts
from sglocal.aws.notices import Notices
from sglocal.metadata.app import MetadataApp
from sglocal.metadata.facts import facts_of
from sglocal.metadata.tree import Facts
from sglocal.wsgi import Server

ADDRESS = "169.254.169.254"
PORT = 80
# One host asks; a late answer that was asked for must not hold up the others.
HOST_THREADS = 3


class MetadataService:
    """Serves the hosts of an emulator."""

    def __init__(
        self, emulator: Emulator, hosts: InstanceHosts, notices: Notices, faults: FaultList
    ) -> None:
        self.emulator = emulator
        self.notices = notices
        self.faults = faults
        self._servers: dict[str, Server] = {}
        self._lock = threading.Lock()
        if emulator.driver.name == "processes":
            hosts.before_launch.append(self._open)
            hosts.after_terminate.append(self._close)

    def start(self) -> None:
        """Listen for containers; process hosts get their server when they launch."""
        if self.emulator.driver.name != "containers":
            return
        app = self._app(lambda env: self._by_address(env["REMOTE_ADDR"]))
        server = Server(self.emulator.driver.listen(ADDRESS, PORT), app, "metadata")
        server.start()
        self._servers["containers"] = server

    def stop(self) -> None:
        """Close every server."""
        with self._lock:
            servers, self._servers = list(self._servers.values()), {}
        for server in servers:
            server.stop()

    def _app(self, facts_for: Callable[[dict[str, Any]], Facts | None]) -> MetadataApp:
        return MetadataApp(facts_for, self.emulator.clock, spoil=self._spoil)

    def _spoil(self, instance_id: str) -> Fault | None:
        with self.emulator.lock:
            return self.faults.take(METADATA, instance_id=instance_id)

    def _open(self, instance_id: str, address: str) -> None:
        app = self._app(lambda _environ: self._by_id(instance_id))
        listener = self.emulator.driver.listen(address, PROCESS_METADATA_PORT)
        server = Server(listener, app, f"metadata-{instance_id}", threads=HOST_THREADS)
        server.start()
        with self._lock:
            self._servers[instance_id] = server

    def _close(self, instance_id: str) -> None:
        with self._lock:
            server = self._servers.pop(instance_id, None)
        if server is not None:
            server.stop()

    def _by_id(self, instance_id: str) -> Facts | None:
        with self.emulator.lock:
            instance = self.emulator.instance(instance_id)
            return None if instance is None else self._facts(instance)

    def _by_address(self, address: str) -> Facts | None:
        with self.emulator.lock:
            for instance in self.emulator.ec2.all_instances():
                if instance.private_ip == address and instance.state != "terminated":
                    return self._facts(instance)
        return None

    def _facts(self, instance: Any) -> Facts:
        return facts_of(self.emulator, self.notices, instance)
