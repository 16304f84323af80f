"""Lines of JSON on stdout: one per request, and the router's own events. Never a prompt.

Writing happens in a thread: a pipe nobody reads must not stop the streams.
"""

from __future__ import annotations

import json
import logging
import os
import select
import stat
import threading
import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import Any

import orjson

MAX_WAITING = 50_000
GATHERED = 1000  # lines taken at once
_SOCKET_BYTES = 16 * 1024


class Log:
    """`write` never blocks; past MAX_WAITING lines new ones are dropped and counted.

    An event's name is plain ASCII. `shared`: other processes write to the descriptor too.
    """

    def __init__(self, descriptor: int = 1, *, shared: bool = False) -> None:
        self.dropped = 0
        self._atomic = _atomic_bytes(descriptor) if shared else None
        self._descriptor = descriptor
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
        self._thread.start()

    def write(self, event: str, fields: Mapping[str, Any]) -> None:
        stamp = b'{"ts":%.3f,"event":"%b"' % (time.time(), event.encode())
        rest = encode(fields)[1:]
        self.put(stamp + (b"," if fields else b"") + rest + b"\n")

    def put(self, line: bytes) -> None:
        """A whole line."""
        if self._queue.qsize() > MAX_WAITING:
            self.dropped += 1
        else:
            self._queue.put(line)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for `timeout_s` at most."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _drain(self) -> None:
        while True:
            lines = [self._queue.get()]
            if self._queue.qsize() < GATHERED:
                time.sleep(0.05)  # gather lines: one system call for many requests
            while lines[-1] is not None and len(lines) < GATHERED:
                try:
                    lines.append(self._queue.get_nowait())
                except Empty:
                    break
            self._write_lines([line for line in lines if line is not None])
            if lines[-1] is None:
                return

    def _write_lines(self, lines: list[bytes]) -> None:
        """As much at once as may be: each write lets go of the interpreter, and getting it back
        costs the streams time."""
        if self._atomic is None:
            self._write(b"".join(lines))
            return
        batch = b""
        for line in lines:
            if len(batch) + len(line) > self._atomic:
                self._write(batch)
                batch = b""
            batch += line
        self._write(batch)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except OSError:
                self.dropped += 1
                return


def _atomic_bytes(descriptor: int) -> int | None:
    """How much can be written at once and is not torn by other processes' writes; None: anything.

    A pipe takes PIPE_BUF (pipe(7)), a file all there is (write(2)), and a stream socket, as
    systemd's journal gives, what fits one of its buffers (unix_stream_sendmsg in Linux).
    """
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:  # it is closed: every line will be counted as dropped
        return select.PIPE_BUF
    if stat.S_ISREG(mode):
        return None
    return _SOCKET_BYTES if stat.S_ISSOCK(mode) else select.PIPE_BUF


def encode(value: Any) -> bytes:
    """As JSON. Clients name models; a lone surrogate in a name must not lose the line."""
    try:
        return orjson.dumps(value, default=str)
    except TypeError:
        return json.dumps(value, default=str, separators=(",", ":")).encode()


class LogHandler(logging.Handler):
    """Sends the standard library's logging (asyncio, botocore) to the same lines."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._log.write("log", fields)
