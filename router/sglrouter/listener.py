"""Listening sockets.

Several processes get one socket each on the same port (SO_REUSEPORT): the kernel spreads
connections over them evenly. The parent keeps all of them open, so that connections a dead process
had not accepted yet wait for another to accept them (ADR 18).
"""

from __future__ import annotations

import socket

from sglrouter.errors import StartError

BACKLOG = 4096


def make_listener(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket. Raises StartError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error}") from error


def make_listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` listening sockets on one port. Raises StartError, also where another program shares
    the port willingly."""
    with make_listener(host, port) as first:
        port = first.getsockname()[1]
        if count == 1:
            return [first.dup()]
    return [make_listener(host, port, shared=True) for _ in range(count)]
