"""A running router: in one process, or the parent of several; and what signals do to it."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import Protocol

from sglrouter.control import Control
from sglrouter.data_plane import DataPlane
from sglrouter.inner import BUILT
from sglrouter.listener import make_listeners
from sglrouter.log import Log, LogHandler
from sglrouter.models import RouterDocument
from sglrouter.reload import Change, Reloader
from sglrouter.serving.core import Router


class Running(Protocol):
    """What signals act upon; `hurry`: cut what runs."""

    router: Router
    control: Control
    hurry: asyncio.Event

    async def start(self) -> None: ...
    async def reload(self, document: RouterDocument) -> Change: ...
    async def drain(self) -> None: ...
    async def stop(self) -> None: ...


class Service:
    """A router in one process. Needs a running loop; several may live in one."""

    def __init__(self, document: RouterDocument, log: Log) -> None:
        self.log = log
        self.router = Router(document, log)
        self.control = Control(self.router)
        self.data = DataPlane(self.router)
        self.hurry = self.data.hurry
        self.port = 0

    @property
    def admin_port(self) -> int:
        return self.control.admin_port

    async def start(self) -> None:
        """Listen and begin to look for workers. Raises StartError, DocumentError."""
        document = self.router.document
        listen = document.listen
        (sock,) = make_listeners(listen.host, listen.port, 1)
        with sock:
            await self.control.start()
            self.data.start()
            await self.data.listen({0: sock})
            self.port = int(sock.getsockname()[1])
        self.log.write(
            "started", {"environment": document.environment, "native": BUILT} | self._addresses()
        )

    def _addresses(self) -> dict[str, object]:
        host = self.router.document.listen.host
        return {"listen": f"{host}:{self.port}", "admin_port": self.admin_port}

    async def reload(self, document: RouterDocument) -> Change:
        return await self.control.reload(document)

    async def drain(self) -> None:
        await self.data.drain()

    async def stop(self) -> None:
        await self.control.stop()
        await self.data.stop()
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


def make_running(document: RouterDocument, log: Log) -> Running:
    if document.listen.processes == 1:
        return Service(document, log)
    from sglrouter.processes import Supervisor

    return Supervisor(document, log)


async def serve(document: RouterDocument, read: Callable[[], RouterDocument]) -> None:
    """Run until SIGTERM or SIGINT has been obeyed. SIGHUP: `read` the document again (blocks)."""
    raise_file_limit()
    log = Log(shared=document.listen.processes > 1)
    logging.basicConfig(handlers=[LogHandler(log)], level=logging.WARNING)
    try:
        running = make_running(document, log)
        reloader = Reloader(running.router, read, running.reload)
        running.control.admin.request_reload = reloader.request
        stop = asyncio.Event()

        def on_signal() -> None:
            (running.hurry if stop.is_set() else stop).set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        loop.add_signal_handler(signal.SIGHUP, reloader.request)
        try:
            await running.start()
            running.control.spawn(reloader.run())
            tell_systemd("READY=1")
            await stop.wait()
            tell_systemd("STOPPING=1")
            await running.drain()
        finally:
            await running.stop()
    finally:
        log.close()
