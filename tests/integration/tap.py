"""A tap between router and engine: what either really sent, to hold against what arrived."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import httptools

from tests.integration.engine_process import free_port


@dataclass
class Message:
    """One HTTP message as a parser reads it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body


@dataclass
class _Wire:
    """The bytes of one connection since they were last forgotten."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


class Tap:
    """Forwards a port of its own to the engine's, in a thread; records both directions."""

    def __init__(self, port: int) -> None:
        self.port, self._engine_port = free_port(), port
        self.url = f"http://127.0.0.1:{self.port}"
        self._wires: list[_Wire] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Tap:
        self._thread.start()
        starting = asyncio.start_server(self._forward, "127.0.0.1", self.port)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = _Wire()
        self._wires.append(wire)
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self._engine_port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(
            _pump(reader, upstream[1], wire.sent), _pump(upstream[0], writer, wire.received)
        )

    def forget(self) -> None:
        for wire in self._wires:
            wire.sent.clear()
            wire.received.clear()

    def exchange(self, path: str) -> tuple[Message, Message]:
        """The only request to `path` since `forget`, and its answer."""
        (wire,) = (w for w in self._wires if w.sent.startswith(f"POST {path} ".encode()))
        return _parsed(bytes(wire.sent), request=True), _parsed(bytes(wire.received))


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray
) -> None:
    try:
        while data := await reader.read(65536):
            record += data
            writer.write(data)
            await writer.drain()
    except OSError:
        writer.transport.abort()
    finally:
        writer.close()


def _parsed(data: bytes, *, request: bool = False) -> Message:
    message = Message()
    if request:
        httptools.HttpRequestParser(message).feed_data(data)
    else:
        parser = httptools.HttpResponseParser(message)
        parser.feed_data(data)
        message.status = parser.get_status_code()
    return message
