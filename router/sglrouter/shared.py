"""What the processes of one host share: memory for the prefix index, and messages.

The parent is supervisor and control plane; data processes serve. Parent and each data process
talk over a socket pair in lines of JSON. The memory is anonymous and inherited.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from sglrouter.errors import RouterError
from sglrouter.fleet.peers import PeerState
from sglrouter.fleet.workers import Report, Seen

MAX_LINE_BYTES = 64 * 1024 * 1024
# How often each side tells the other what it knows.
INTERVAL_S = 0.25


class ChannelError(RouterError):
    """The other side sent what is no message."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker as the parent knows it; `read_at` on the monotonic clock, which all share."""

    seen: Seen
    slot: int
    report: Report | None
    failed_reads: int
    read_at: float
    drained_here: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """Parent → data: the document to serve by, as JSON; first of all, and at every reload."""

    document: str
    kind: Literal["document"] = "document"


@dataclass(frozen=True, slots=True)
class View:
    """Parent → data: the workers and the other routers."""

    workers: list[WorkerRow]
    self_id: str
    serving: bool
    peers: list[PeerState]
    kind: Literal["view"] = "view"


@dataclass(frozen=True, slots=True)
class Others:
    """Parent → data: requests on each worker that are not the process's own."""

    workers: dict[str, int]
    kind: Literal["others"] = "others"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Parent → data: `access.key_source.secrets_dump`."""

    secrets: dict[str, str]
    kind: Literal["secrets"] = "secrets"


@dataclass(frozen=True, slots=True)
class Listen:
    """Parent → data: accept from these listeners, and from no other."""

    listeners: list[int]
    kind: Literal["listen"] = "listen"


@dataclass(frozen=True, slots=True)
class Stop:
    """Parent → data: drain and end; `hurry`: cut what runs."""

    hurry: bool = False
    kind: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class Ready:
    """Data → parent: the first document, view and secrets are taken."""

    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Counts:
    """Data → parent: the process's numbers, `telemetry.exposition.process_dump`."""

    dump: dict[str, list[list[Any]]]
    kind: Literal["counts"] = "counts"


Message = Document | View | Others | Secrets | Listen | Stop | Ready | Counts
_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def encode(message: Message) -> bytes:
    """One line."""
    return _MESSAGES.dump_json(message) + b"\n"


def decode(line: bytes) -> Message:
    """Raises ChannelError."""
    try:
        return _MESSAGES.validate_json(line)
    except ValidationError as error:
        raise ChannelError(f"not a message: {error}") from error


class Channel:
    """One end of the socket pair. A lost other side shows as None from `receive`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        sock.setblocking(False)
        return cls(*await asyncio.open_connection(sock=sock, limit=MAX_LINE_BYTES))

    def send(self, *lines: bytes) -> None:
        """Encoded messages. What the other side does not read in time is its end: see `waiting`."""
        if not self._writer.is_closing():
            self._writer.writelines(lines)

    @property
    def waiting(self) -> int:
        """Bytes the other side has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    async def receive(self) -> Message | None:
        """The next message; None when the other side is gone. Raises ChannelError."""
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):
            return None
        return decode(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        self._writer.transport.abort()


def make_memory(size: int) -> int:
    """A descriptor of `size` zeroed bytes that a child process can inherit."""
    descriptor = os.memfd_create("sglrouter-index", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, size)
    return descriptor


def map_memory(descriptor: int) -> memoryview:
    """The memory, seen by every process that maps it. Write at once what must not be torn."""
    return memoryview(mmap.mmap(descriptor, os.fstat(descriptor).st_size))
