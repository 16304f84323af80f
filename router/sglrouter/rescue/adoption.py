"""Takes over the clients of data processes that died (`keeper` gives them away)."""

from __future__ import annotations

import asyncio
import os
import socket

from sglrouter.rescue.connection import Rescue, RescuedConnection
from sglrouter.rescue.counted import bytes_read, bytes_written
from sglrouter.rescue.keeper import MESSAGE

# Connections taken over before others are looked after again.
_AT_ONCE = 64


def make_adoption() -> tuple[socket.socket, socket.socket]:
    """(what every data process takes from, what every keeper gives to)."""
    takes, gives = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    takes.setblocking(False)
    return takes, gives


def turn_away(takes: socket.socket) -> None:
    """Close what is given away and nobody takes; its clients need not wait longer."""
    for _ in range(_AT_ONCE):
        try:
            message, descriptors, *_ = socket.recv_fds(takes, MESSAGE.size, 2)
        except BlockingIOError:
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if not message:
            return


class Adopter:
    """`start` and `stop`, in a running loop. `end`: see `make_adoption`."""

    def __init__(self, rescue: Rescue, end: socket.socket) -> None:
        self._rescue = rescue
        self._router = rescue.router
        self._end = end
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._router.loop.add_reader(self._end.fileno(), self._adopt)

    async def stop(self) -> None:
        """Take no more; what was taken is a client's connection like any other."""
        self._router.loop.remove_reader(self._end.fileno())
        await asyncio.gather(*self._tasks, return_exceptions=True)  # a few turns of the loop

    def _adopt(self) -> None:
        counts = {"idle": 0, "waiting": 0, "lost": 0}
        for _ in range(_AT_ONCE):
            try:
                message, descriptors, *_ = socket.recv_fds(self._end, MESSAGE.size, 2)
            except BlockingIOError:
                break
            if not message:
                break
            counts[self._take(message, descriptors)] += 1
        if any(counts.values()):
            self._router.metrics.taken_over(counts)
            self._router.log.write("clients_taken_over", dict(counts))

    def _take(self, message: bytes, descriptors: list[int]) -> str:
        """Go on with one connection; returns what it is."""
        taken, offset, length = MESSAGE.unpack(message)
        if not descriptors:  # this process has as many as it may
            return "lost"
        connection = socket.socket(fileno=descriptors[0])
        connection.setblocking(False)
        unanswered, written = b"", 0
        try:
            if length and descriptors[1:]:
                unanswered = os.pread(descriptors[1], length, offset)
            whole = len(unanswered) == length and bytes_read(connection) == taken
            written = bytes_written(connection)
        except OSError:
            whole = False
        finally:
            for source in descriptors[1:]:
                os.close(source)
        if not whole:  # something that the dead process read is in no journal: better an end
            connection.close()
            return "lost"
        row = self._rescue.journal.row(connection.fileno())
        if row is not None:  # from here on it is in the hands of this process's keeper
            row.open(taken - length)
            if length:
                row.took(unanswered)
                row.again()
        made = RescuedConnection(self._rescue, row, unanswered, written)
        task = self._router.loop.create_task(self._go_on(connection, made))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return "waiting" if length else "idle"

    async def _go_on(self, taken: socket.socket, connection: RescuedConnection) -> None:
        try:
            await self._router.loop.connect_accepted_socket(lambda: connection, taken)
        except OSError:  # the client has left meanwhile
            connection.gone()
            taken.close()
            return
        if self._router.stopping:
            connection.close_if_idle()
