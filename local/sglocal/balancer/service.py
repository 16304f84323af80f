"""Keeps HAProxy in step with the emulator."""

from __future__ import annotations

import logging
import re
import socket
import threading
from pathlib import Path
from typing import Any

from sglocal.aws.emulator import Emulator
from sglocal.balancer import config
from sglocal.balancer.haproxy import HAProxy
from sglocal.balancer.model import Model
from sglocal.balancer.view import model_of
from sglocal.errors import LocalError

log = logging.getLogger(__name__)

PRIVILEGED, MOVED_BY = 1024, 8000


class Balancer:
    """Serves the listeners of the emulator's load balancers on 127.0.0.1."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.haproxy = HAProxy(folder)
        self.errors: dict[str, str] = {}
        self._folder = folder
        self._bound: dict[tuple[str, int], int] = {}
        self._structure = ""
        self._states: dict[tuple[str, str], str] = {}
        self._sessions: dict[str, int] = {}
        self._guard = threading.Lock()
        emulator.open_sessions = self.open_sessions
        emulator.every("balancer", emulator.timing.balancer_s, self.step)

    def open_sessions(self, instance_id: str) -> int:
        """Streams open to an instance, at the last look (`timing.balancer_s` ago at most)."""
        return self._sessions.get(instance_id, 0)

    def urls(self) -> dict[str, list[str]]:
        """URLs by load balancer."""
        with self.emulator.lock:
            answer: dict[str, list[str]] = {}
            for balancer in self.emulator.elbv2.load_balancers.values():
                for listener in balancer.listeners.values():
                    local = self._bound.get((balancer.name, int(listener.port)))
                    if local is not None:
                        scheme = str(listener.protocol).lower()
                        answer.setdefault(balancer.name, []).append(f"{scheme}://127.0.0.1:{local}")
        return answer

    def step(self) -> None:
        """Reload when the configuration changed, else only tell what changed."""
        with self._guard:
            with self.emulator.lock:
                self._choose_ports()
                model = model_of(self.emulator, self._bound, self._certificate)
            if not model.listeners:
                if self.haproxy.running:
                    self.haproxy.stop()
                self._structure, self._states, self._sessions = "", {}, {}
                return
            self._serve(model)
            self._sessions = self.haproxy.sessions()

    def stop(self) -> None:
        """End HAProxy."""
        with self._guard:
            self.haproxy.stop()

    def _serve(self, model: Model) -> None:
        namespace = self.emulator.driver.haproxy_namespace
        wanted = config.structure(model, namespace=namespace)
        states = {(p.name, t.target_id): t.state for p in model.pools for t in p.targets}
        if wanted != self._structure or not self.haproxy.running:
            self.haproxy.apply(config.render(model, namespace=namespace))
            log.info("serving %s", ", ".join(f"{x.balancer}:{x.bound}" for x in model.listeners))
            # A draining target starts in maintenance in a new worker: it gets no requests.
        else:
            changed = [key for key in states if self._states.get(key) != states[key]]
            # Targets that come before those that go: a request in between must find one.
            for key in sorted(changed, key=lambda key: states[key] != "ready"):
                self.haproxy.set_state(*key, states[key])
        self._structure, self._states = wanted, dict(states)

    def _choose_ports(self) -> None:
        """Find a local port for new listeners; forget those of deleted ones."""
        wanted = {
            (balancer.name, int(listener.port))
            for balancer in self.emulator.elbv2.load_balancers.values()
            if balancer.type == "application"
            for listener in balancer.listeners.values()
        }
        for key in set(self._bound) - wanted:
            del self._bound[key]
        for name in set(self.errors) - {f"{name}:{port}" for name, port in wanted}:
            del self.errors[name]
        for key in sorted(wanted - set(self._bound)):
            label = f"{key[0]}:{key[1]}"
            try:
                self._bound[key] = local_port(key[1], set(self._bound.values()))
                self.errors.pop(label, None)
            except LocalError as error:
                if label not in self.errors:
                    log.error("%s", error)
                self.errors[label] = str(error)

    def _certificate(self, arn: str) -> str | None:
        """The certificate and key of an ACM certificate as one PEM file."""
        acm: Any = self.emulator.backend("acm")
        bundle = acm._certificates.get(arn)
        if bundle is None:
            return None
        name = re.sub(r"[^A-Za-z0-9-]", "", arn.rsplit("/", 1)[-1]) + ".pem"
        path = self._folder / "certificates" / name
        text = bundle.cert.strip() + b"\n" + bundle.key.strip() + b"\n"
        if not path.exists() or path.read_bytes() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(text)
        return f"certificates/{name}"


def local_port(port: int, taken: set[int]) -> int:
    """Where a listener of `port` is served. Raises LocalError when nothing is free."""
    candidates = [port, port + MOVED_BY] if port < PRIVILEGED else [port]
    refused = ""
    for candidate in candidates:
        if candidate in taken:
            refused = f"port {candidate} serves another listener"
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
                return candidate
            except OSError as error:
                refused = f"port {candidate}: {error.strerror}"
    raise LocalError(
        f"the listener of port {port} cannot be served on 127.0.0.1 ({refused}); "
        "free the port or choose another listener_port"
    )
