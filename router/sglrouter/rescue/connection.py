"""A client's connection that outlives its process while it is owed no rest of an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sglrouter.inner.row import ANSWERING, IDLE
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

    def connection(self) -> RescuedConnection:
        return RescuedConnection(self)


class RescuedConnection(ClientConnection):
    """Tells the journal what it reads, and when an answer begins and is all the kernel's.

    `row`, `unanswered`, `written`: of a connection taken over, with what its last process had
    read of a request, which the row has already, and the bytes that it has been sent.
    """

    # Slots: with more than 30 attributes CPython no longer shares the keys of instances.
    __slots__ = ("_reading", "_rescue", "_row", "_unanswered", "_written")

    def __init__(
        self, rescue: Rescue, row: Row | None = None, unanswered: bytes = b"", written: int = 0
    ) -> None:
        super().__init__(rescue.router)
        self._rescue = rescue
        self._row = row
        self._unanswered = unanswered
        self._written = written  # without what the current answer passes on
        self._reading = False  # there may be more in the bytes that are being read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._row is None:
            self._row = self._rescue.journal.row(transport.get_extra_info("socket").fileno())
            if self._row is not None:
                self._row.open(0)
        if self._unanswered:
            self._read(self._unanswered)
            self._unanswered = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone()
        super().connection_lost(exc)

    def gone(self) -> None:
        """The descriptor can be another's from now on."""
        if self._row is not None:
            self._row.end()
            self._row = None

    def data_received(self, data: bytes) -> None:
        row = self._row
        if row is not None:
            if self._closing:  # nobody reads it any more
                row.end()
            elif not row.took(data) and self._quiet:
                row.begin(data)
        self._read(data)

    def _read(self, data: bytes) -> None:
        self._reading = True
        super().data_received(data)
        self._reading = False
        if self.exchange is None:  # a blank line begins no request
            self.rest()

    @property
    def _quiet(self) -> bool:
        """Whether nothing is read and not answered, and nothing written and not sent."""
        return not (
            self.exchange is not None
            or self._reading
            or self.partial
            or self._ahead
            or self._closing
            or self.transport.is_closing()
            or self.transport.get_write_buffer_size()
        )

    def answering(self, whole: int = 0) -> None:
        if self._row is not None:
            alone = not (self._reading or self._ahead or self.partial)
            self._row.answer(self._written, whole if alone else 0)

    def write(self, data: bytes) -> None:
        self._written += len(data)
        super().write(data)

    def finished(self, *, close: bool, abort: bool = False) -> None:
        if self.exchange is not None:
            self._written += self.exchange.sent
        super().finished(close=close, abort=abort)
        if not (close or abort):
            self.rest()

    def rest(self) -> None:
        """The journal may call it idle, if it is."""
        row = self._row
        if row is not None and row.state != IDLE and self._quiet:
            row.idle()

    def tick(self, now: float, idle_s: float) -> None:
        super().tick(now, idle_s)
        self.rest()
        if self._row is not None and self._row.state == ANSWERING:
            self._row.end()  # the client has some of it: the request is kept for nobody
