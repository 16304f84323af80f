"""Hosts that exist on paper: what the emulator asks of a driver, recorded."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sglocal.hosts.driver import CommandResult, HostError, HostSpec


class FakeDriver:
    """Hosts that exist on paper; tests say how they answer."""

    def __init__(self, name: str = "containers") -> None:
        self.name: Any = name
        self.specs: dict[str, HostSpec] = {}
        self.states: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.graces: dict[str, float] = {}
        self.networks: set[str] = set()
        self.answers: dict[str, int | None] = {}
        self.refuse_launch = ""
        self.hold_launch = threading.Event()
        self.hold_launch.set()
        self.script_result: Callable[[str, str], CommandResult] = lambda _id, script: CommandResult(
            0, f"ran {script}", ""
        )
        self.closed = False

    def prepare(self, cidr: str | None = None) -> None: ...

    def address_for(self, private_ip: str) -> str:
        if self.name == "containers":
            return private_ip
        return "127." + private_ip.split(".", 1)[1]

    def ensure_network(self, cidr: str) -> None:
        self.networks.add(cidr)

    def listen(self, address: str, port: int) -> socket.socket:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        return listener

    def launch(self, spec: HostSpec) -> None:
        assert self.hold_launch.wait(10)
        if self.refuse_launch:
            raise HostError(self.refuse_launch)
        self.specs[spec.instance_id] = spec
        self._enter("launch", spec.instance_id, "running")

    def stop(self, instance_id: str, *, graceful_s: float = 10.0) -> None:
        self._enter("stop", instance_id, "stopped")

    def start(self, instance_id: str) -> None:
        self._enter("start", instance_id, "running")

    def terminate(self, instance_id: str, *, graceful_s: float = 0.0) -> None:
        self.graces[instance_id] = graceful_s
        self._enter("terminate", instance_id, "gone")

    def _enter(self, call: str, instance_id: str, state: str) -> None:
        self.calls.append((call, instance_id))
        self.states[instance_id] = state

    def status(self, instance_id: str) -> Any:
        return self.states.get(instance_id, "gone")

    def hosts(self) -> list[str]:
        return [i for i, state in self.states.items() if state != "gone"]

    def run(self, instance_id: str, script: str, *, timeout_s: float) -> CommandResult:
        return self.script_result(instance_id, script)

    def http_status(self, address: str, port: int, path: str, *, timeout_s: float) -> int | None:
        return self.answers.get(address, 200)

    def snapshot(self, instance_id: str, destination: Path) -> None:
        self._enter("snapshot", instance_id, self.states[instance_id])
        destination.mkdir(parents=True)
        (destination / "disk").write_text(instance_id)

    def log_path(self, instance_id: str) -> Path:
        return Path("/nonexistent") / instance_id

    @property
    def haproxy_namespace(self) -> str | None:
        return None

    def close(self) -> None:
        self.closed = True
