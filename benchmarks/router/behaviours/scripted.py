"""Workers whose every byte a scenario decides, and a client that sees every byte."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httptools

from benchmarks.router.prompts import KEY
from benchmarks.router.worker import ANSWER, MODEL, STREAM_END, STREAM_HEAD, TOKEN

BODY_LIMIT = 128 * 1024 * 1024
TIMEOUT_S = 15.0


@dataclass
class Received:
    """A request as a worker got it: head as sent, body without chunk framing."""

    head: bytes
    body: bytes


Handler = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWER)


def after(delay_s: float) -> Handler:
    """Answer, but later."""

    async def late(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(delay_s)
        writer.write(ANSWER)

    return late


def stream(events: int, gap_s: float, *, dies: bool = False) -> Handler:
    """`events` tokens; then the end, or (dies) the connection's."""

    async def streaming(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for _ in range(events):
            writer.write(TOKEN)
            await asyncio.sleep(gap_s)
        if dies:
            writer.transport.abort()
        else:
            writer.write(STREAM_END)

    return streaming


async def reset(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def status(line: str) -> Handler:
    """A worker that is up and cannot serve."""

    async def sick(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {line}\r\ncontent-length: 4\r\n\r\nsick".encode())

    return sick


@dataclass
class ScriptedWorker:
    """Requests go to `handler`; every GET is a probe; `state` is what its agent would say."""

    handler: Handler = answer
    state: str = "ready"
    requests: list[Received] = field(default_factory=list)
    gone_at: float = 0.0  # when a router closed while a request ran (perf_counter)
    port: int = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=1 << 20, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._open: set[asyncio.StreamWriter] = set()

    async def stop(self) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    def _probe(self) -> tuple[bytes, bytes]:
        """(what the agent says, what the engine says)."""
        document = {
            "version": 1,
            "instance_id": f"i-{self.port:017x}",
            "environment": "local",
            "fleet": "chat",
            "role": "regular",
            "release": "1",
            "model": MODEL,
            "served_model_name": MODEL,
            "engine": "stub",
            "engine_version": "1",
            "engine_url": f"http://127.0.0.1:{self.port}",
            "state": self.state,
            "since": "2026-11-21T10:00:00Z",
        }
        other = {"status": "ok", "model_path": MODEL, "is_generation": True, "object": "list"}
        models = {"data": [{"id": MODEL, "object": "model", "owned_by": "sglang"}]}
        body = json.dumps(document).encode()
        return _json(body), _json(json.dumps({**other, **models, "model": MODEL}).encode())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET "):
                    state, other = self._probe()
                    writer.write(state if head.startswith(b"GET /state ") else other)
                    continue
                request = Received(head, await _body(head, reader))
                self.requests.append(request)
                await self._run(request, reader, writer)
        except (asyncio.IncompleteReadError, OSError, ValueError):
            pass  # the router closed, or sent what no engine would take
        finally:
            self._open.discard(writer)
            writer.close()

    async def _run(
        self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """The handler, ended when the router closes meanwhile."""
        work = asyncio.ensure_future(self.handler(request, writer))
        gone = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            self.gone_at = time.perf_counter()
            raise ConnectionResetError
        if gone.done():
            raise ConnectionResetError
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await work
        await writer.drain()


def _json(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    if fields.get(b"transfer-encoding", b"").lower() != b"chunked":
        return await reader.readexactly(min(int(fields.get(b"content-length", 0)), BODY_LIMIT))
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return b"".join(pieces)


@dataclass
class Reply:
    """A response as a client's parser sees it; `complete` False: the connection ended inside it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    seconds: float = 0.0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True

    @property
    def error_code(self) -> str:
        """The `code` of an error in OpenAI's shape, or ''."""
        try:
            return str(json.loads(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return ""


def post(body: dict[str, Any] | bytes, headers: str = "", *, length: bool = True) -> bytes:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    counted = f"Content-Length: {len(payload)}\r\n" if length else ""
    return (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: llm.example.com\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n{headers}{counted}\r\n"
    ).encode() + payload


def chat(prompt: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **fields}


async def ask(port: int, request: bytes, timeout_s: float = TIMEOUT_S) -> Reply:
    """Send bytes, read one response; what came until the timeout when it does not end."""
    started = time.perf_counter()
    reply = Reply()
    parser = httptools.HttpResponseParser(reply)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(timeout_s):
            writer.write(request)
            while not reply.complete and (data := await reader.read(1 << 16)):
                parser.feed_data(data)
                reply.status = parser.get_status_code()
                if reply.status == 100:  # an interim response
                    parser = httptools.HttpResponseParser(reply)
                    reply.complete = False
    except (TimeoutError, OSError, httptools.HttpParserError):
        pass
    finally:
        writer.transport.abort()
    reply.seconds = time.perf_counter() - started
    return reply
