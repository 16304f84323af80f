"""What a router does beside serving: it keeps workers, peers and secrets, and answers operators."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from sglrouter.access.key_source import SecretReader, read_files, take_secret
from sglrouter.admin import Admin, AdminConnection
from sglrouter.fleet.discovery import HOST_ADDRESS, make_source
from sglrouter.fleet.peer_registrar import PeerRegistrar, make_peer_source
from sglrouter.fleet.peers import Peers
from sglrouter.fleet.registrar import Registrar
from sglrouter.listener import make_listener
from sglrouter.models import RouterDocument
from sglrouter.reload import Change, change_of, read_secret_files
from sglrouter.serving.core import Router
from sglrouter.telemetry.cloudwatch import Publisher
from sglrouter.wire.upstream import close_idle

# Connections wait this long at most for a router that has just started to know keys and workers:
# until then it could only refuse them.
FIRST_LOOK_S = 2.0


class Control:
    """`start`, any number of `reload`, then `stop`. `secrets_changed` is called when they did."""

    def __init__(self, router: Router, secrets_changed: Callable[[], None] | None = None) -> None:
        self.router = router
        self.admin = Admin(router)
        self.admin_port = 0
        self._own_address = os.environ.get(HOST_ADDRESS)
        self.registrar = Registrar(router, self._source())
        self._secrets = SecretReader(router, secrets_changed)
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._peering: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Answer operators and have looked for secrets and workers, or tried to for FIRST_LOOK_S.

        Raises StartError, DocumentError.
        """
        router, listen = self.router, self.router.document.listen
        await read_files(router)  # a wrong file is a wrong start
        sock = make_listener(listen.admin_host, listen.admin_port)
        self._server = await router.loop.create_server(
            lambda: AdminConnection(self.admin), sock=sock
        )
        self.admin_port = int(sock.getsockname()[1])
        self.spawn(self._secrets.run())
        self.spawn(Publisher(router).run())
        self.spawn(self.registrar.run())
        self._start_peering()
        await self._look_once()

    async def _look_once(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S):
                await self._secrets.looked.wait()
                await self.registrar.looked.wait()

    def spawn(self, loop: Coroutine[Any, Any, None]) -> None:
        """Run `loop` until `stop`."""
        self._tasks.append(asyncio.create_task(loop))

    def _source(self) -> Any:
        document = self.router.document
        return make_source(document.discovery, document.environment, self._own_address)

    def _start_peering(self) -> None:
        router, document = self.router, self.router.document
        if document.peers is None:
            return
        source = make_peer_source(
            document.peers, document.environment, document.listen.port, self._own_address
        )
        registrar = PeerRegistrar(
            router.peers,
            source,
            router.log,
            healthy=lambda: not router.draining and router.workers.ready_count() > 0,
            clock=router.clock,
            gone=close_idle,
        )
        self._peering = asyncio.create_task(registrar.run())

    async def _stop_peering(self) -> None:
        if self._peering is not None:
            self._peering.cancel()
            await asyncio.gather(self._peering, return_exceptions=True)
            self._peering = None
            self.router.peers = Peers(processes=self.router.document.listen.processes)

    async def reload(self, document: RouterDocument) -> Change:
        """Put a document in force, or raise DocumentError and leave everything as it was."""
        router, old = self.router, self.router.document
        change = change_of(old, document)
        secrets = await asyncio.to_thread(read_secret_files, old, change.document)
        if change.keys:
            new = change.document
            self._configure(old, new)
            for which, (origin, text) in secrets.items():
                take_secret(router, which, text, origin)
            self.registrar.configure(self._source() if new.discovery != old.discovery else None)
            if new.peers != old.peers:
                await self._stop_peering()
                self._start_peering()
        return change

    def _configure(self, old: RouterDocument, new: RouterDocument) -> None:
        try:
            self.router.configure(new)
        except BaseException:  # half a document must not stay in force
            self.router.configure(old)
            raise

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._stop_peering()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
