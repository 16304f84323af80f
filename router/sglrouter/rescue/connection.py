"""A client's connection that outlives its process while it is owed no rest of an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sglrouter.inner.row import NONE
from sglrouter.rescue.journal import Journal
from sglrouter.wire.client import ClientConnection

if TYPE_CHECKING:
    from sglrouter.inner import Row
    from sglrouter.serving.core import Router


class Rescue:
    """What the connections of one process share."""

    def __init__(self, router: Router, journal: Journal) -> None:
        self.router = router
        self.journal = journal
        self._answered: list[RescuedConnection] = []

    def connection(self) -> RescuedConnection:
        return RescuedConnection(self)

    def rest_soon(self, connection: RescuedConnection) -> None:
        """Its answer is written; a moment later the kernel has it, too."""
        if not self._answered:
            self.router.loop.call_soon(self._rest)
        self._answered.append(connection)

    def _rest(self) -> None:
        answered, self._answered = self._answered, []
        for connection in answered:
            connection.rest()


class RescuedConnection(ClientConnection):
    """Tells the journal what it reads, and when an answer begins and is all the kernel's.

    `row`, `unanswered`: of a connection taken over, with what its last process had read of a
    request, which the row has already.
    """

    # Slots: with more than 30 attributes CPython no longer shares the keys of instances.
    __slots__ = ("_rescue", "_row", "_unanswered")

    def __init__(self, rescue: Rescue, row: Row | None = None, unanswered: bytes = b"") -> None:
        super().__init__(rescue.router)
        self._rescue = rescue
        self._row = row
        self._unanswered = unanswered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._row is None:
            self._row = self._rescue.journal.row(transport.get_extra_info("socket").fileno())
            if self._row is not None:
                self._row.open(0)
        if self._unanswered:
            super().data_received(self._unanswered)
            self._unanswered = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self.answering()
        self._row = None  # the descriptor can be another's now
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        row = self._row
        if row is not None:
            if self._closing:  # nobody reads it any more
                row.end()
            elif not row.took(data) and self._quiet:
                row.begin(data)
        super().data_received(data)
        if self.exchange is None and row is not None and row.state != NONE and self._quiet:
            row.end()  # blank lines only: they begin no request
            row.idle()

    @property
    def _quiet(self) -> bool:
        """Whether nothing is read and not answered, and nothing written and not sent."""
        return not (
            self.exchange is not None
            or self.partial
            or self._ahead
            or self._closing
            or self.transport.is_closing()
            or self.transport.get_write_buffer_size()
        )

    def answering(self) -> None:
        if self._row is not None:
            self._row.end()

    def finished(self, *, close: bool, abort: bool = False) -> None:
        super().finished(close=close, abort=abort)
        if not (close or abort):
            self._rescue.rest_soon(self)

    def rest(self) -> None:
        """The journal may call it idle, if it is."""
        row = self._row
        if row is not None and row.state == NONE and self._quiet:
            row.idle()

    def tick(self, now: float, idle_s: float) -> None:
        super().tick(now, idle_s)
        self.rest()
