"""A client's connection: answers its requests one after the other, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

from sglrouter.wire.reader import Request, RequestReader
from sglrouter.wire.replies import Failure

if TYPE_CHECKING:
    from sglrouter.serving.core import Router
    from sglrouter.serving.exchange import Exchange

# Requests sent ahead (pipelining) that are held before reading stops.
MAX_AHEAD, MAX_AHEAD_BYTES = 32, 1024 * 1024
# After a refusal the connection stays open this long for the client to read it.
LINGER_S = 2.0
# A request that has begun may pause this long between two pieces.
REQUEST_S = 60.0


class ClientConnection(RequestReader):
    def __init__(self, router: Router) -> None:
        super().__init__(router)
        self.exchange: Exchange | None = None
        self.write_paused = False
        self._ahead: deque[Request] = deque()
        self._ahead_bytes = 0
        self._read_paused = False
        self._kicking = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if peer else ""
        self.router.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.router.clients.discard(self)
        self._closing = True
        self._parser = None  # it refers back to this object
        self._ahead.clear()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.pause()

    def resume_writing(self) -> None:
        self.write_paused = False
        self.active_at = self.router.now
        if self.exchange is not None:
            self.exchange.resume()

    # its requests

    @property
    def busy(self) -> bool:
        return self.exchange is not None or bool(self._ahead)

    def _forward(self, request: Request) -> None:
        if self.exchange is not None or self._ahead or self.transport.is_closing():
            self._queue(request)
            return
        try:
            self.router.forward(self, request)
        except Exception:  # else the client would wait for ever, and its place with it
            self.router.defect(self)

    def _queue(self, request: Request) -> None:
        self._ahead.append(request)
        self._ahead_bytes += len(request.body)
        self._kick()
        ahead = len(self._ahead)
        if ahead > MAX_AHEAD or (ahead and self._ahead_bytes > MAX_AHEAD_BYTES):
            self._read_paused = True
            self.transport.pause_reading()

    def _kick(self) -> None:
        """Start the next request, if none is being answered. Never recurses."""
        if self._kicking:
            return
        self._kicking = True
        while self._ahead and self.exchange is None and not self.transport.is_closing():
            request = self._ahead.popleft()
            self._ahead_bytes -= len(request.body)
            try:
                self.router.serve(self, request)
            except Exception:  # else the client would wait for ever, and its place with it
                self.router.defect(self)
        self._kicking = False
        if self._read_paused and not self._ahead:
            self._read_paused = False
            self.transport.resume_reading()

    def finished(self, *, close: bool, abort: bool = False) -> None:
        """The current answer is written: go on with the next request, or close."""
        self.exchange = None
        self.active_at = self.router.now
        if abort:
            self.transport.abort()
        elif not close:
            if self._ahead or self._read_paused:
                self._kick()
        elif self.partial or self._fed:
            self._linger()
        else:
            self._closing = True
            self.transport.close()

    def _linger(self) -> None:
        """Close so that the client can still read what was written (a reset would discard it)."""
        self._closing = True
        self._ahead.clear()
        if not self.transport.is_closing():
            self.transport.write_eof()
            self.router.loop.call_later(LINGER_S, self._reap)

    def _reap(self) -> None:
        if self.transport.get_write_buffer_size() == 0:
            self.transport.abort()
        else:
            self.router.loop.call_later(LINGER_S, self._reap)

    def tick(self, now: float, idle_s: float) -> None:
        """Close when the client lets time pass: idle, in mid-request, or not reading."""
        silent = now - self.active_at
        if self.write_paused:
            if silent > idle_s:
                self.transport.abort()
        elif self.exchange is None and not self._closing:
            if self.partial and silent > REQUEST_S:
                self._give_up(Failure(408, "request_timeout", "The request did not arrive whole."))
            elif not self.partial and silent > idle_s:
                self.transport.close()

    def close_if_idle(self) -> None:
        """The router stops: connections without a request are closed."""
        if self.exchange is None and not self._ahead and not self.partial:
            self._closing = True
            self.transport.close()
