"""A client's connection that outlives its process while it is owed no rest of an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sglrouter.rescue.journal import IDLE, NONE, Journal
from sglrouter.wire.client import ClientConnection

if TYPE_CHECKING:
    from sglrouter.serving.core import Router


class Kept:
    """What the connections of one process share."""

    def __init__(self, router: Router, journal: Journal) -> None:
        self.router = router
        self.journal = journal
        self._answered: list[KeptConnection] = []

    def connection(self) -> KeptConnection:
        return KeptConnection(self)

    def rest_soon(self, connection: KeptConnection) -> None:
        """Its answer is written; a moment later the kernel has it, too."""
        if not self._answered:
            self.router.loop.call_soon(self._rest)
        self._answered.append(connection)

    def _rest(self) -> None:
        answered, self._answered = self._answered, []
        for connection in answered:
            connection.rest()


class KeptConnection(ClientConnection):
    """Tells the journal what it reads, and when an answer begins and is all the kernel's.

    `taken`, `unanswered`: of a connection taken over, the bytes the dead process has read, and
    those of its last request.
    """

    def __init__(self, kept: Kept, taken: int = 0, unanswered: bytes = b"") -> None:
        super().__init__(kept.router)
        self._kept = kept
        self._journal = kept.journal
        self._row = -1
        self._taken_over = taken, unanswered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._row = transport.get_extra_info("socket").fileno()
        taken, unanswered = self._taken_over
        self._journal.opened(self._row, taken - len(unanswered))
        if unanswered:
            self.data_received(unanswered)
            self._journal.again(self._row)

    def connection_lost(self, exc: Exception | None) -> None:
        self._journal.closed(self._row)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._journal.took(self._row, data, begins=self._rests)
        super().data_received(data)

    @property
    def _rests(self) -> bool:
        """Whether nothing is read and not answered, and nothing written and not sent."""
        state = self._journal.state(self._row)
        if state == IDLE:
            return True
        return state == NONE and self._quiet

    @property
    def _quiet(self) -> bool:
        return not (
            self.busy
            or self.partial
            or self._closing
            or self.transport.is_closing()
            or self.transport.get_write_buffer_size()
        )

    def answering(self) -> None:
        self._journal.answering(self._row)

    def finished(self, *, close: bool, abort: bool = False) -> None:
        super().finished(close=close, abort=abort)
        if not (close or abort):
            self._kept.rest_soon(self)

    def rest(self) -> None:
        """The journal may call it idle, if it is."""
        if self._journal.state(self._row) == NONE and self._quiet:
            self._journal.idle(self._row)

    def tick(self, now: float, idle_s: float) -> None:
        super().tick(now, idle_s)
        self.rest()
