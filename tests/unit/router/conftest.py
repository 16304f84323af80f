"""A router in this process, with fake workers whose every byte a test decides."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httptools
import pytest
import uvloop

from sglrouter.log import Log
from sglrouter.models import RouterDocument
from sglrouter.service import Service

DEADLINE_S = 30.0


@dataclass
class Received:
    """A request as a worker got it."""

    head: bytes
    body: bytes

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [tuple(line.split(": ", 1)) for line in lines if line]  # type: ignore[misc]


Handler = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def plain(body: bytes = b'{"ok":true}', status: str = "200 OK") -> Handler:
    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return answer


def cut(data: bytes = b"") -> Handler:
    """Send `data`, then die (end of stream)."""

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return answer


def reset() -> Handler:
    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    return answer


@dataclass
class FakeWorker:
    """Serves requests with `handler` and, on the same port, an agent's /state."""

    handler: Handler = field(default_factory=plain)
    state: dict[str, Any] = field(default_factory=dict)
    state_status: int = 200
    fleet: str = "chat"
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()

    @property
    def id(self) -> str:
        return f"127.0.0.1:{self.port}"

    def document(self) -> dict[str, Any]:
        return {
            "version": 1,
            "instance_id": "i-0123456789abcdef0",
            "environment": "local",
            "fleet": self.fleet,
            "role": "regular",
            "release": "2026.11.1",
            "model": "tiny",
            "served_model_name": "tiny",
            "engine": "stub",
            "engine_version": "1",
            "engine_url": f"http://127.0.0.1:{self.port}",
            "state": "ready",
            "since": "2026-11-21T10:00:00Z",
            **self.state,
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        counted = False
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith((b"GET /state ", b"GET /health ")):
                    body = json.dumps(self.document()).encode()
                    await plain(body, f"{self.state_status} X")(Received(head, b""), writer)
                    continue
                if not counted:
                    counted, self.connections = True, self.connections + 1
                request = Received(head[:-4], b"")
                length = next(
                    (int(v) for k, v in request.headers if k.lower() == "content-length"), 0
                )
                request.body = await reader.readexactly(length)
                self.requests.append(request)
                work = asyncio.ensure_future(self.handler(request, writer))
                gone = asyncio.ensure_future(reader.read(1))
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done() and not work.done():
                    work.cancel()
                    self.closed.set()
                    return
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)
                await work
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()


class Answer:
    """A response as a client's parser sees it."""

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.pieces: list[bytes] = []
        self.status = 0
        self.complete = False
        self.headers_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.headers_complete = True

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = True

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name), None)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> Answer:
        """The next response; `complete` is False when the connection ended inside it."""
        answer = Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            data = await asyncio.wait_for(self.reader.read(65536), DEADLINE_S)
            if not data:
                break
            parser.feed_data(data)
            if answer.headers_complete:
                answer.status = parser.get_status_code()
        return answer

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), DEADLINE_S)


@dataclass
class World:
    service: Service
    workers: list[FakeWorker]
    log_path: str
    clients: list[Client] = field(default_factory=list)

    @property
    def router(self) -> Any:
        return self.service.router

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.service.port))
        self.clients.append(client)
        return client

    async def raw(self, data: bytes) -> bytes:
        """Everything the router sends until it closes."""
        client = await self.client()
        client.writer.write(data)
        return await client.rest()

    async def ask(self, data: bytes) -> Answer:
        client = await self.client()
        client.writer.write(data)
        answer = await client.answer()
        client.writer.close()
        return answer

    async def admin(self, path: str) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.service.admin_port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        answer = await Client(reader, writer).answer()
        writer.close()
        return answer

    def log(self) -> list[dict[str, Any]]:
        """The lines so far; closes the log."""
        self.service.log.close()
        return [json.loads(line) for line in Path(self.log_path).read_text().splitlines()]


async def until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Wait for something another task does; fails after DEADLINE_S."""
    for _ in range(int(DEADLINE_S / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{what} did not become true")


class Harness:
    """What tests use of this file (test modules cannot import a conftest)."""

    FakeWorker, Received, Client, Answer, World = FakeWorker, Received, Client, Answer, World
    plain, cut, reset, until = staticmethod(plain), staticmethod(cut), staticmethod(reset), until
    until = staticmethod(until)

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.count = 0

    def run(self, coroutine: Any) -> Any:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(asyncio.wait_for(coroutine, 60))

    def post(
        self,
        document: Any = None,
        *,
        path: str = "/v1/completions",
        headers: str = "",
        body: bytes | None = None,
    ) -> bytes:
        payload = json.dumps(document or {"model": "tiny"}).encode() if body is None else body
        return (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}"
            f"Content-Length: {len(payload)}\r\n\r\n"
        ).encode() + payload

    @asynccontextmanager
    async def world(
        self, *workers: FakeWorker, ready: bool = True, **changes: Any
    ) -> AsyncIterator[World]:
        for worker in workers:
            await worker.start()
        listed = [
            {"url": f"http://{w.id}", "fleet": w.fleet, "agent_url": f"http://{w.id}"}
            for w in workers
        ]
        data = {
            "environment": "local",
            "listen": {
                "host": "127.0.0.1",
                "port": 0,
                "admin_host": "127.0.0.1",
                "admin_port": 0,
            },
            "fleets": {"chat": {"models": ["tiny"]}},
            "discovery": {"kind": "static", "workers": listed, "state_interval_s": 0.05},
            **changes,
        }
        self.count += 1
        path = str(Path(self.folder) / f"log-{self.count}")
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
        service = Service(RouterDocument.model_validate(data), Log(descriptor))
        await service.start()
        world = World(service, list(workers), path)
        try:
            if ready and workers:
                set_ = service.router.workers
                await until(lambda: set_.ready_count() == len(workers), "workers ready")
            yield world
        finally:
            for client in world.clients:
                client.writer.transport.abort()
            await service.stop()
            for worker in workers:
                await worker.stop()
            service.log.close()
            os.close(descriptor)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Harness:
    return Harness(str(tmp_path_factory.mktemp("router")))
