"""The emulator's AWS without hosts, as a process of its own: `python emulator.py STATE_DIR`.

Prints its URL and serves until its standard input closes.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

from sglocal.aws.emulator import Emulator, Settings, configure_moto
from sglocal.hosts.driver import CommandResult, HostSpec, HostStatus

ACCOUNT = "111122223333"
REGION = "us-east-1"


class NoHosts:
    """A host driver that keeps records: instances run, but nothing answers at their addresses."""

    name = "processes"
    haproxy_namespace = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts: dict[str, HostStatus] = {}

    def prepare(self, cidr: str | None = None) -> None: ...

    def address_for(self, private_ip: str) -> str:
        return private_ip

    def ensure_network(self, cidr: str) -> None: ...

    def listen(self, address: str, port: int) -> socket.socket:
        raise NotImplementedError(f"{address}:{port}: nothing listens without hosts")

    def launch(self, spec: HostSpec) -> None:
        self._hosts[spec.instance_id] = "running"

    def stop(self, instance_id: str, *, graceful_s: float = 10.0) -> None:
        self._hosts[instance_id] = "stopped"

    def start(self, instance_id: str) -> None:
        self._hosts[instance_id] = "running"

    def terminate(self, instance_id: str, *, graceful_s: float = 0.0) -> None:
        self._hosts.pop(instance_id, None)

    def status(self, instance_id: str) -> HostStatus:
        return self._hosts.get(instance_id, "gone")

    def hosts(self) -> list[str]:
        return list(self._hosts)

    def run(self, instance_id: str, script: str, *, timeout_s: float) -> CommandResult:
        return CommandResult(1, "", "no host")

    def http_status(self, address: str, port: int, path: str, *, timeout_s: float) -> int | None:
        return None

    def snapshot(self, instance_id: str, destination: Path) -> None: ...

    def log_path(self, instance_id: str) -> Path:
        return self._folder / instance_id

    def close(self) -> None:
        self._hosts.clear()


def main(folder: Path) -> None:
    """Serve on a free port of the loopback address."""
    configure_moto(ACCOUNT)
    from sglocal.aws import extensions  # imports moto, which reads its environment once
    from sglocal.aws.app import AwsApp
    from sglocal.wsgi import Server

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    driver: Any = NoHosts(folder)
    emulator = Emulator(
        Settings(ACCOUNT, REGION, folder / "state", folder / "cache", "processes", port), driver
    )
    extensions.install(emulator)
    server = Server(listener, AwsApp(emulator), "aws")
    server.start()
    emulator.start()
    print(f"http://127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop()
    emulator.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
