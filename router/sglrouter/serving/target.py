"""Anything a request can be sent to: a worker, another router, an external API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sglrouter.inner import Work

if TYPE_CHECKING:
    import ssl

    from sglrouter.fleet.workers import Address
    from sglrouter.inner import Meter
    from sglrouter.serving.retry import Cause
    from sglrouter.wire.upstream import Upstream


class Target(Work):
    """`name` is what x-sglctl-worker says, `idle` its kept-alive connections, newest last.

    `in_flight` counts this process's requests on it and nothing else does.
    A target that is `removed` keeps its requests and gets no connection kept alive.
    """

    __slots__ = ("address", "host_header", "idle", "name", "removed", "tls")

    def __init__(self, name: bytes, address: Address, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.tls = tls
        self.idle: list[Upstream] = []
        self.in_flight = 0
        self.removed = False
        self.move(address)

    def move(self, address: Address) -> None:
        self.address = address
        self.host_header = str(address).encode()


class Clock(Protocol):
    """`now`: monotonic seconds as of the last tick."""

    @property
    def now(self) -> float: ...


class Receiver(Protocol):
    """Who hears what a connection's target answers: an exchange, or the prefill half of a pair."""

    @property
    def router(self) -> Clock: ...
    @property
    def head_only(self) -> bool: ...
    @property
    def meter(self) -> Meter | None:
        """Where whole chunks may go unseen; None: nowhere."""

    def response_head(self, connection: Upstream, raw: bytes, status: int) -> bytes | None: ...
    def write(self, data: bytes) -> None: ...
    def completed(self) -> None: ...
    def attempt_failed(self, cause: Cause) -> None: ...
    def upstream_ended(self, *, clean: bool) -> None: ...
