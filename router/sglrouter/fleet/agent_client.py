"""A small GET client on one kept-alive connection, for agents' /state and engines' /health."""

from __future__ import annotations

import asyncio

import httptools

from sglrouter.fleet.workers import Address

MAX_ANSWER_BYTES = 1024 * 1024


class ReadError(Exception):
    """One GET failed; the message says how."""


class _Answer:
    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.complete = False
        self.last = False  # on its connection
        self.on_body = self.body.append

    def on_header(self, name: bytes, value: bytes) -> None:
        self.last |= name.lower() == b"connection" and value.lower() == b"close"

    def on_message_complete(self) -> None:
        self.complete = True


class AgentClient:
    """GETs of one host and port, one at a time."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, timeout_s: float) -> tuple[int, bytes]:
        """(status, body). Raises ReadError. A connection closed meanwhile is opened anew once."""
        try:
            async with asyncio.timeout(timeout_s):
                if self._streams is not None:
                    try:
                        return await self._ask(path)
                    except (OSError, EOFError):
                        self.close()
                return await self._ask(path)
        except TimeoutError as error:
            self.close()
            raise ReadError(f"{self.address}{path}: no answer within {timeout_s:g} s") from error
        except (OSError, EOFError, httptools.HttpParserError) as error:
            self.close()
            raise ReadError(f"{self.address}{path}: {error or type(error).__name__}") from error
        except asyncio.CancelledError:
            self.close()
            raise

    async def _ask(self, path: str) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.address.host, self.address.port)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {self.address}\r\n\r\n".encode())
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        size = 0
        while not answer.complete:
            data = await reader.read(65536)
            if not data:
                raise EOFError("the connection ended")
            size += len(data)
            if size > MAX_ANSWER_BYTES:
                raise OSError("the answer is too large")
            parser.feed_data(data)
        if answer.last or parser.get_http_version() != "1.1":  # llhttp forgets it by now
            self.close()
        return parser.get_status_code(), b"".join(answer.body)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
