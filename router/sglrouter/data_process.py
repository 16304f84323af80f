"""A data process: it serves, and knows what its parent tells it (`processes`).

Started by the parent alone: `python -m sglrouter.data_process NUMBER CHANNEL MEMORY LISTENER…`,
all but the first inherited descriptors.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Sequence

import uvloop

from sglrouter.access.key_source import take_secrets
from sglrouter.data_plane import DataPlane
from sglrouter.fleet.peers import Peers
from sglrouter.log import Log, LogHandler
from sglrouter.models import RouterDocument
from sglrouter.processes_sums import mirror_workers
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

    def __init__(self, router: Router, channel: Channel, sockets: Sequence[socket.socket]) -> None:
        self.router = router
        self.plane = DataPlane(router)
        self._channel = channel
        self._sockets = sockets
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
            self._channel.send(encode(Ready()))

    async def _count(self) -> None:
        """Tell the parent this process's numbers, until cancelled."""
        while True:
            self._channel.send(encode(Counts(dict(process_dump(self.router)))))
            await asyncio.sleep(INTERVAL_S)


async def _run(channel_fd: int, memory_fd: int, listener_fds: Sequence[int]) -> None:
    log = Log(shared=True)
    logging.basicConfig(handlers=[LogHandler(log)], level=logging.WARNING)
    channel = await Channel.open(socket.socket(fileno=channel_fd))
    sockets = [socket.socket(fileno=fd) for fd in listener_fds]
    try:
        first = await channel.receive()
        if not isinstance(first, Document):
            raise ChannelError("the parent did not begin with a document")
        document = RouterDocument.model_validate_json(first.document)
        router = Router(document, log, memory=map_memory(memory_fd))
        await DataProcess(router, channel, sockets).run()
    finally:
        channel.close()
        for sock in sockets:
            sock.close()
        log.close()


def main(arguments: Sequence[str]) -> None:
    """Signals are the parent's affair: a terminal's Ctrl-C reaches every process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _, channel, memory, *listeners = map(int, arguments)
    uvloop.run(_run(channel, memory, listeners))


if __name__ == "__main__":
    main(sys.argv[1:])
