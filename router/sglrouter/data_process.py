"""A data process: it serves, and knows what its parent tells it (`processes`)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from sglrouter.access.key_source import take_secrets
from sglrouter.data_plane import DataPlane
from sglrouter.fleet.peers import Peers
from sglrouter.log import Log, LogHandler
from sglrouter.models import RouterDocument
from sglrouter.processes_sums import mirror_workers
from sglrouter.rescue.adoption import Adopter
from sglrouter.rescue.connection import Rescue
from sglrouter.rescue.journal import Journal
from sglrouter.scheduling import take_turns
from sglrouter.serving.core import Router
from sglrouter.shared import (
    INTERVAL_S,
    Channel,
    ChannelError,
    Counts,
    Document,
    Listen,
    Message,
    Others,
    Ready,
    Secrets,
    Stop,
    View,
    encode,
    map_memory,
)
from sglrouter.telemetry.exposition import process_dump
from sglrouter.wire.upstream import close_idle

# The parent judges how old a worker's state may be; here only a parent that hangs is noticed.
STALE_S = 15.0


class DataProcess:
    """`run` until the parent says stop, or is gone."""

    def __init__(
        self,
        router: Router,
        channel: Channel,
        sockets: Sequence[socket.socket],
        rescue: Rescue,
        adopter: Adopter,
    ) -> None:
        self.router = router
        self.plane = DataPlane(router, rescue.connection)
        self._channel = channel
        self._sockets = sockets
        self._adopter = adopter
        self._drain: asyncio.Task[None] | None = None
        self._ready = False
        router.workers.stale_s = STALE_S

    async def run(self) -> None:
        self.plane.start()
        counting = asyncio.create_task(self._count())
        try:
            while (message := await self._next()) is not None:
                await self._take(message)
        finally:
            if self._drain is not None:
                await self._drain
            await self._adopter.stop()
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
            await self.plane.stop()

    async def _next(self) -> Message | None:
        """The parent's next message; None when the drain is over. A lost parent means: drain."""
        hearing = asyncio.ensure_future(self._channel.receive())
        waited = [hearing] if self._drain is None else [hearing, self._drain]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if self._drain is not None and self._drain.done():
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            return None
        message = hearing.result()
        if message is None:
            self._stop()
        return message

    async def _take(self, message: Message) -> None:
        router = self.router
        if isinstance(message, Document):
            router.configure(RouterDocument.model_validate_json(message.document))
            router.workers.stale_s = STALE_S
        elif isinstance(message, View):
            self._mirror(message)
        elif isinstance(message, Others):
            for key, others in message.workers.items():
                if (worker := router.workers.workers.get(key)) is not None:
                    worker.others = others
        elif isinstance(message, Secrets):
            take_secrets(router, message.secrets)
        elif isinstance(message, Listen):
            if not router.stopping:
                await self.plane.listen({n: self._sockets[n] for n in message.listeners})
        elif isinstance(message, Stop):
            self._stop()
            if message.hurry:
                self.plane.hurry.set()

    def _stop(self) -> None:
        if self._drain is None:
            self._drain = asyncio.create_task(self.plane.drain(self._sockets))

    def _mirror(self, view: View) -> None:
        router = self.router
        mirror_workers(router, {row.seen.id: row for row in view.workers})
        if view.self_id != router.peers.self_id:
            for peer in router.peers.mirror([]):
                close_idle(peer)
            router.peers = Peers(view.self_id, router.document.listen.processes)
        router.peers.set_serving(view.serving)
        for peer in router.peers.mirror(view.peers):
            close_idle(peer)
        if not self._ready:
            self._ready = True
            self._adopter.start()
            self._channel.send(encode(Ready()))

    async def _count(self) -> None:
        """Tell the parent this process's numbers, until cancelled."""
        while True:
            self._channel.send(encode(Counts(dict(process_dump(self.router)))))
            await asyncio.sleep(INTERVAL_S)


@dataclass(frozen=True, slots=True)
class Inherited:
    """What `data_start` begins with: descriptors, the end that clients of dead processes come
    from, the journal, and the keeper's process id or why there is none."""

    channel: int
    memory: int
    listeners: Sequence[int]
    takes: socket.socket
    journal: Journal
    keeper: int | OSError


def _watch(keeper: int | OSError, log: Log) -> None:
    """Say so when there is no keeper, now or later: the process serves without."""
    try:
        if isinstance(keeper, OSError):
            raise keeper
        descriptor = os.pidfd_open(keeper)
    except OSError as error:
        log.write("no_keeper", {"error": str(error)})
        return
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(int(keeper), 0)
        log.write("no_keeper", {"error": f"it ended: {os.waitstatus_to_exitcode(status)}"})

    loop.add_reader(descriptor, ended)


async def _run(inherited: Inherited) -> None:
    log = Log(shared=True)
    logging.basicConfig(handlers=[LogHandler(log)], level=logging.WARNING)
    _watch(inherited.keeper, log)
    channel = await Channel.open(socket.socket(fileno=inherited.channel))
    sockets = [socket.socket(fileno=fd) for fd in inherited.listeners]
    try:
        first = await channel.receive()
        if not isinstance(first, Document):
            raise ChannelError("the parent did not begin with a document")
        document = RouterDocument.model_validate_json(first.document)
        take_turns(document.listen.processes)
        router = Router(document, log, memory=map_memory(inherited.memory))
        rescue = Rescue(router, inherited.journal)
        adopter = Adopter(rescue, inherited.takes)
        await DataProcess(router, channel, sockets, rescue, adopter).run()
    finally:
        channel.close()
        for sock in sockets:
            sock.close()
        log.close()


def run(inherited: Inherited) -> None:
    uvloop.run(_run(inherited))
