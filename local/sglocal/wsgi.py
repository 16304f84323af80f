"""A threaded HTTP server on a socket that already listens."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

log = logging.getLogger(__name__)


class QuietHandler(MotoRequestHandler):
    """Logs errors, not every request; keeps connections open."""

    protocol_version = "HTTP/1.1"
    timeout = 120  # seconds an idle connection is kept

    def handle_expect_100(self) -> bool:
        """werkzeug answers `Expect: 100-continue` itself; once is enough."""
        return True

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Only refusals and failures."""
        if str(code)[:1] in "45":
            log.debug("%s %s", self.requestline, code)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Through logging, without werkzeug's colours."""
        log.log(logging.ERROR if type == "error" else logging.DEBUG, message, *args)


class Server:
    """Serves a WSGI application on `listener` until stopped."""

    def __init__(self, listener: socket.socket, app: Any, name: str) -> None:
        address = listener.getsockname()
        self.address, self.port = str(address[0]), int(address[1])
        self._server = make_server(
            self.address,
            self.port,
            app,
            threaded=True,
            request_handler=QuietHandler,
            fd=listener.fileno(),
        )
        listener.close()  # werkzeug has its own copy
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self._server.block_on_close = False  # type: ignore[attr-defined]
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.1), name=name, daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting; requests in progress end with the process."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)
