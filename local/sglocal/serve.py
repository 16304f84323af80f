"""The daemon: builds every part, serves until SIGTERM, takes everything down again."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from pathlib import Path
from typing import IO, Any, Literal, cast

from sglocal.aws.emulator import Emulator, Settings, Timing, configure_moto
from sglocal.errors import PortTakenError
from sglocal.hosts.driver import HostDriver
from sglocal.state import StateDir, UpSettings

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
# Where containers reach the AWS API: an address of the hub beside the metadata service's.
CONTAINER_API = ("169.254.169.253", 5566)
STOP_TIMEOUT_S = 20.0


def listen(port: int) -> socket.socket:
    """The endpoint's socket. Raises PortTakenError."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise PortTakenError(LOOPBACK, port, "choose another one with --port") from error
    listener.listen(128)
    return listener


class Daemon:
    """A running emulator with its servers."""

    def __init__(
        self, settings: Settings, driver: HostDriver, state: StateDir, timing: Timing | None = None
    ) -> None:
        configure_moto(settings.account)
        # These import moto, which reads its environment once, when it is imported.
        from sglocal.aws import extensions
        from sglocal.aws.certificates import Authority
        from sglocal.balancer.service import Balancer
        from sglocal.metadata.service import MetadataService

        self.settings, self.driver, self.state = settings, driver, state
        self.emulator = Emulator(settings, driver, timing=timing)
        self.extensions = extensions.install(self.emulator)
        self.balancer = Balancer(self.emulator, state.balancer)
        self.authority = Authority(state.tls)
        self.metadata = MetadataService(
            self.emulator, self.extensions.hosts, self.extensions.notices, self.extensions.faults
        )
        self._servers: list[Any] = []

    def start(self, listener: socket.socket) -> None:
        """Make the hosts' network, listen there and on `listener`, start the loops."""
        from sglocal.aws.app import AwsApp
        from sglocal.aws.attempts import Attempts
        from sglocal.aws.faults import FaultyApp
        from sglocal.wsgi import Server

        aws = FaultyApp(AwsApp(self.emulator), self.emulator, self.extensions.faults)
        app = self._app(Attempts(aws))
        self.driver.prepare(None)
        sockets = [listener]
        if self.driver.name == "containers":
            sockets.append(self.driver.listen(*CONTAINER_API))
            self.emulator.host_endpoint = "http://{}:{}".format(*CONTAINER_API)
        else:
            self.emulator.host_endpoint = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        self.metadata.start()
        for each in sockets:
            server = Server(each, app, "aws")
            server.start()
            self._servers.append(server)
        self.emulator.start()

    def _app(self, aws: Any) -> Any:
        from sglocal import status
        from sglocal.aws.certificates import seed
        from sglocal.control import Control
        from sglocal.fault_routes import FaultRoutes
        from sglocal.notice_routes import NoticeRoutes

        def seed_all(domains: list[str]) -> dict[str, Any]:
            arns = {name: seed(self.emulator, self.authority, name) for name in domains}
            return {"certificates": arns, "ca_file": str(self.authority.path)}

        def describe() -> dict[str, Any]:
            ca_file = str(self.authority.path)
            return status.document(
                self.emulator, self.extensions, self.balancer, ca_file, os.getpid()
            )

        return Control(
            aws,
            status=describe,
            seed=seed_all,
            faults=FaultRoutes(self.emulator, self.extensions.faults),
            notices=NoticeRoutes(self.emulator, self.extensions.notices),
        )

    def stop(self) -> None:
        """Take everything down; each part is tried even when another fails."""
        self.emulator.stop(STOP_TIMEOUT_S)
        steps = [self.balancer.stop, self.metadata.stop, *(s.stop for s in self._servers)]
        for step in [*steps, self.driver.close]:
            try:
                step()
            except Exception:
                log.exception("%s failed while stopping", step)


def serve(up: UpSettings, lock: int | None = None) -> int:
    """Run the daemon in this process until SIGTERM or SIGINT. `lock`: its lock, inherited."""
    from sglocal.balancer.haproxy import sweep
    from sglocal.hosts.factory import make_driver

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    state = StateDir(Path(up.state_dir))
    state.create()
    with state.hold_daemon_lock() if lock is None else _inherited(lock):
        kind = cast(Literal["containers", "processes"], up.hosts)
        cache = Path(up.cache_dir)
        driver = make_driver(kind, state_dir=state.folder, cache_dir=cache)
        listener = listen(up.port)
        port = listener.getsockname()[1]
        sweep(state.balancer)
        driver.close()
        settings = Settings(up.account, up.region, state.folder, cache, kind, port)
        daemon = Daemon(settings, driver, state)
        try:
            daemon.start(listener)
            state.write_endpoint(endpoint_document(daemon, up, port))
            log.info("serving AWS at http://%s:%d with %s", LOOPBACK, port, up.hosts)
            ended.wait()
            log.info("stopping")
        finally:
            state.endpoint_file.unlink(missing_ok=True)
            daemon.stop()
            log.info("stopped")
    return 0


def _inherited(lock: int) -> IO[str]:
    os.set_inheritable(lock, False)
    return os.fdopen(lock, "a")


def endpoint_document(daemon: Daemon, up: UpSettings, port: int) -> dict[str, Any]:
    """endpoint.json."""
    document: dict[str, Any] = {
        "endpoint": f"http://{LOOPBACK}:{port}",
        "pid": os.getpid(),
        "hosts": up.hosts,
        "account": up.account,
        "region": up.region,
    }
    if daemon.driver.haproxy_namespace is not None:
        document["hub"] = daemon.driver.haproxy_namespace
    return document
