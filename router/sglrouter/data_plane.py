"""A process's streams: its listeners, its clock, and their orderly end.

The end: /health says 503 and requests are still taken for `drain_notice_s`, so that the load
balancer turns away first; then nothing new is accepted, streams run on for `drain_s`,
and each one that is cut then is logged.
"""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence

from sglrouter.allocator import keep_freed_memory
from sglrouter.listener import BACKLOG
from sglrouter.serving.core import TICK_S, Router
from sglrouter.wire.client import ClientConnection

POLL_S = 0.05
FLUSH_POLLS = 20


async def keep_ticking(router: Router) -> None:
    """Every deadline hangs on the ticks: what one of them meets must not end them."""
    while True:
        try:
            await router.run_ticks()
        except Exception:
            router.log.write("tick_failed", {"traceback": traceback.format_exc()})
            await asyncio.sleep(TICK_S)


class DataPlane:
    """`start`, `listen`, then `drain` and `stop`."""

    def __init__(
        self, router: Router, connection: Callable[[], ClientConnection] | None = None
    ) -> None:
        self.router = router
        self._connection = connection or (lambda: ClientConnection(router))
        self.hurry = asyncio.Event()  # cut what runs
        self._servers: dict[int, asyncio.Server] = {}
        self._ticks: asyncio.Task[None] | None = None

    def start(self) -> None:
        keep_freed_memory()
        self._ticks = asyncio.create_task(keep_ticking(self.router))

    async def listen(self, sockets: Mapping[int, socket.socket]) -> None:
        """Accept from exactly these listening sockets, which stay the caller's."""
        for number in self._servers.keys() - sockets.keys():
            self._servers.pop(number).close()
        for number in sockets.keys() - self._servers.keys():
            self._servers[number] = await self.router.loop.create_server(
                self._connection, sock=sockets[number].dup(), backlog=BACKLOG
            )

    async def drain(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Turn away, finish, cut: see the module's text.

        `sockets` are closed as well when nothing more is accepted: while one is open anywhere,
        the kernel takes connections that nobody answers.
        """
        router = self.router
        limits = router.document.limits
        router.draining = True
        router.log.write("draining", {"in_flight": len(router.exchanges)})
        await self._wait(limits.drain_notice_s, idle=False)
        router.stopping = True
        await self.listen({})
        for sock in sockets:
            sock.close()
        for client in list(router.clients):
            client.close_if_idle()
        await self._wait(limits.drain_s, idle=True)
        for exchange in list(router.exchanges):
            if exchange not in router.exchanges:  # it got the place of one cut, and found no worker
                continue
            worker = exchange.worker.id if exchange.worker is not None else ""
            fields = {"id": exchange.request.id.decode(), "worker": worker}
            router.log.write("stream_cut", {**fields, "phase": exchange.phase})
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
        await self.listen({})
        if self._ticks is not None:
            self._ticks.cancel()
            await asyncio.gather(self._ticks, return_exceptions=True)
        for _ in range(FLUSH_POLLS):
            if not any(c.transport.get_write_buffer_size() for c in self.router.clients):
                break
            await asyncio.sleep(POLL_S)
        for client in list(self.router.clients):
            client.transport.abort()
        for _ in range(FLUSH_POLLS):  # what their requests came to is to be counted and logged
            if not (self.router.clients or self.router.ended):
                break
            await asyncio.sleep(0)
