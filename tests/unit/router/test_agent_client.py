"""The client that asks agents and engines how they are."""

from __future__ import annotations

import asyncio

import pytest

from sglrouter.fleet.agent_client import AgentClient
from sglrouter.fleet.workers import Address

ANSWERS = [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 1),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
    (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 3),
    (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 3),
]


@pytest.mark.parametrize(("answer", "connections"), ANSWERS)
def test_a_connection_is_kept_unless_the_answer_ends_it(answer: bytes, connections: int):
    served: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            client = AgentClient(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
            for _ in range(3):
                assert await client.get("/state", 10) == (200, b"ok")
            client.close()
            async with asyncio.timeout(10):
                await asyncio.gather(*(task for task in served if task is not None))

    asyncio.run(ask())
    assert len(served) == connections
