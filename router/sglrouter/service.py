"""A running router: listeners, loops, and the orderly end.

The end on SIGTERM: /health says 503 and requests are still taken for `drain_notice_s`, so that the
load balancer turns away first; then nothing new is accepted, streams run on for `drain_s`,
and each one that is cut then is logged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Coroutine
from typing import Any

from sglrouter.access.key_source import keep_keys, read_keys
from sglrouter.admin import AdminConnection
from sglrouter.errors import StartError
from sglrouter.fleet.discovery import HOST_ADDRESS, make_source
from sglrouter.fleet.registrar import Registrar
from sglrouter.log import Log, LogHandler
from sglrouter.models import RouterDocument
from sglrouter.serving.core import Router
from sglrouter.wire.client import ClientConnection

BACKLOG = 4096
POLL_S = 0.05
FLUSH_POLLS = 20


class Service:
    """`start`, then `drain` and `stop`. Needs a running loop; several may live in one."""

    def __init__(self, document: RouterDocument, log: Log) -> None:
        self.document = document
        self.log = log
        self.router = Router(document, log)
        source = make_source(document.discovery, document.environment, os.environ.get(HOST_ADDRESS))
        self.registrar = Registrar(self.router, source)
        self.port = self.admin_port = 0
        self.hurry = asyncio.Event()  # a second signal: cut what runs
        self._servers: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen and begin to look for workers. Raises StartError, DocumentError."""
        router, listen = self.router, self.document.listen
        if self.document.keys is not None:
            if self.document.keys.file is not None:  # a wrong file is a wrong start
                await read_keys(router, self.document.keys)
            self._spawn(keep_keys(router, self.document.keys))
        self._spawn(router.run_ticks())
        self._spawn(self.registrar.run())
        self.admin_port = await self._listen(
            lambda: AdminConnection(router), listen.admin_host, listen.admin_port
        )
        self.port = await self._listen(lambda: ClientConnection(router), listen.host, listen.port)
        fields = {"listen": f"{listen.host}:{self.port}", "admin_port": self.admin_port}
        self.log.write("started", {"environment": self.document.environment, **fields})

    def _spawn(self, loop: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(loop))

    async def _listen(self, protocol: Any, host: str, port: int) -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise StartError(f"cannot listen on {host}:{port}: {error}") from error
        server = await self.router.loop.create_server(protocol, sock=sock, backlog=BACKLOG)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def drain(self) -> None:
        """Turn away, finish, cut: see the module's text."""
        router, limits = self.router, self.document.limits
        router.draining = True
        self.log.write("draining", {"in_flight": len(router.exchanges)})
        await self._wait(limits.drain_notice_s, idle=False)
        router.stopping = True
        self._servers[-1].close()
        for client in list(router.clients):
            client.close_if_idle()
        await self._wait(limits.drain_s, idle=True)
        for exchange in list(router.exchanges):
            worker = exchange.worker.id if exchange.worker is not None else ""
            fields = {"id": exchange.request.id.decode(), "worker": worker}
            self.log.write("stream_cut", {**fields, "phase": exchange.phase})
            exchange.cut()

    async def _wait(self, seconds: float, *, idle: bool) -> None:
        """Wait `seconds`, or until hurried, or (`idle`) until no request is left."""
        deadline = self.router.clock() + seconds
        while self.router.clock() < deadline and not self.hurry.is_set():
            if idle and not self.router.exchanges:
                return
            await asyncio.sleep(min(POLL_S, seconds))

    async def stop(self) -> None:
        """Close everything. Answers already written get a moment to leave."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _ in range(FLUSH_POLLS):
            if not any(c.transport.get_write_buffer_size() for c in self.router.clients):
                break
            await asyncio.sleep(POLL_S)
        for client in list(self.router.clients):
            client.transport.abort()
        self.log.write("stopped", {})


def raise_file_limit() -> None:
    """Two descriptors per stream: take what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tell_systemd(message: str) -> None:
    """https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html"""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto(message.encode(), address)


async def serve(document: RouterDocument) -> None:
    """Run until SIGTERM or SIGINT has been obeyed."""
    raise_file_limit()
    log = Log()
    logging.basicConfig(handlers=[LogHandler(log)], level=logging.WARNING)
    try:
        service = Service(document, log)
        stop = asyncio.Event()

        def on_signal() -> None:
            (service.hurry if stop.is_set() else stop).set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        try:
            await service.start()
            tell_systemd("READY=1")
            await stop.wait()
            tell_systemd("STOPPING=1")
            await service.drain()
        finally:
            await service.stop()
    finally:
        log.close()
