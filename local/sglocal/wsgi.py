"""An HTTP server for a WSGI application, on a socket that already listens.

waitress reads a request whole before a thread takes it up, and keeps connections open: a slow
client holds nothing up, and an answer never races the close of its connection.
docs/decisions/0021-the-emulator-is-served-by-waitress.md
"""

from __future__ import annotations

import socket
import threading
from typing import Any

from waitress import create_server, wasyncore

# Clients drop idle connections sooner (Go's transport after 90 s), so that it is never us who
# closes one on which a request is just being sent.
IDLE_CONNECTION_S = 3600
CONNECTIONS = 4096
# Weights go into the model bucket.
MAX_BODY_BYTES = 1 << 40
# Threads that take longer (a late answer that was asked for) end with the process.
STOP_TIMEOUT_S = 1.0
CLOSE_TIMEOUT_S = 10.0


class Server:
    """Serves a WSGI application on `listener` until stopped; `threads` requests at once."""

    def __init__(self, listener: socket.socket, app: Any, name: str, threads: int = 32) -> None:
        address = listener.getsockname()
        self.address, self.port = str(address[0]), int(address[1])
        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._sockets,
            sockets=[listener],
            threads=threads,
            channel_timeout=IDLE_CONNECTION_S,
            connection_limit=CONNECTIONS,
            max_request_body_size=MAX_BODY_BYTES,
            asyncore_use_poll=True,
            ident=None,
        )
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def _serve(self) -> None:
        """Until no socket is left, the listening one included."""
        wasyncore.loop(timeout=30.0, use_poll=True, map=self._sockets)

    def stop(self) -> None:
        """Answer what is being answered, for a short while; close every connection."""
        self._server.task_dispatcher.shutdown(timeout=STOP_TIMEOUT_S)
        if not self._thread.is_alive():
            self._close()
            return
        self._server.trigger.pull_trigger(self._close)
        self._closed.wait(CLOSE_TIMEOUT_S)

    def _close(self) -> None:
        if self._server.task_dispatcher.threads:
            # One is still answering and wakes the loop when it is done: leave it what it needs.
            wasyncore.dispatcher.close(self._server)
        else:
            wasyncore.close_all(self._sockets)
        self._closed.set()
