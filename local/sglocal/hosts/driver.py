"""The interface between the emulator (which decides) and the hosts (which exist)."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

HostStatus = Literal["booting", "running", "stopped", "gone"]


class HostError(Exception):
    """A host could not be made, reached or removed; the message says which and why."""


@dataclass(frozen=True)
class HostSpec:
    """One instance, as the emulator knows it when it launches.

    `address` is the address the host answers at (what EC2 reports as its private IP).
    `image_root` is the folder of the image's layers, uppermost first, below the base;
    None for images without a root (process hosts ignore it).
    `environment` is what a local host needs to find the emulator (AWS_ENDPOINT_URL, AWS_REGION).
    """

    instance_id: str
    address: str
    prefix_length: int
    tags: Mapping[str, str]
    user_data: bytes = b""
    image_root: Path | None = None
    authorized_keys: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int | None = None


@dataclass(frozen=True)
class CommandResult:
    """What a script run on a host returned; output is cut as Run Command cuts it (24,000 chars)."""

    returncode: int
    stdout: str
    stderr: str


class HostDriver(Protocol):
    """Containers (systemd-nspawn) or processes. Calls are thread-safe and block until done."""

    name: Literal["containers", "processes"]

    def prepare(self, cidr: str | None = None) -> None:
        """Make what hosts share (network namespace, bridge, cgroups); idempotent."""

    def address_for(self, private_ip: str) -> str:
        """The address a host will answer at: itself (containers), 127.b.c.d (processes)."""

    def ensure_network(self, cidr: str) -> None:
        """Make addresses of a VPC's CIDR reachable by hosts (the VPC router's .1 included)."""

    def listen(self, address: str, port: int) -> socket.socket:
        """A listening TCP socket that hosts reach at address:port (made inside their namespace)."""

    def launch(self, spec: HostSpec) -> None:
        """Start a host; returns once its init runs (its services may still be starting)."""

    def stop(self, instance_id: str, *, graceful_s: float = 10.0) -> None:
        """Shut down, keep the disk."""

    def start(self, instance_id: str) -> None:
        """Start a stopped host again with its disk."""

    def terminate(self, instance_id: str, *, graceful_s: float = 0.0) -> None:
        """Remove the host and everything it had; no error if it is gone."""

    def status(self, instance_id: str) -> HostStatus: ...

    def hosts(self) -> Sequence[str]:
        """Instance ids that have a host (whatever its status)."""

    def run(self, instance_id: str, script: str, *, timeout_s: float) -> CommandResult:
        """Run a shell script on the host, as root where there is one (Run Command)."""

    def http_status(self, address: str, port: int, path: str, *, timeout_s: float) -> int | None:
        """The status of one GET on a host, None when it does not answer (health checks)."""

    def snapshot(self, instance_id: str, destination: Path) -> None:
        """Keep the (stopped) host's disk as an image root at `destination`."""

    def log_path(self, instance_id: str) -> Path:
        """The file that shows what the host printed."""

    @property
    def haproxy_namespace(self) -> str | None:
        """Network namespace from which the load balancer reaches hosts, None for this one."""

    def close(self) -> None:
        """Terminate every host and remove what they shared; also what a crash left behind."""
