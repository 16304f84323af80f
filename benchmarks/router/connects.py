"""Thousands of connects in one moment, and how long each took."""

from __future__ import annotations

import select
import socket
import time

STALL_S = 0.5  # between a connect that stands at once and a SYN sent again after a second
_LONGEST_S = 20.0


def connect_at_once(port: int, count: int) -> tuple[list[socket.socket], list[float]]:
    """Sockets that connected, and how long each took.

    Without asyncio, whose own work on thousands of connects would be taken for a stall. On
    loopback a connect stands at once, unless the listener's queue is full: then the SYN is
    dropped and sent again a second later (tcp(7), `tcp_abort_on_overflow` 0).
    """
    begun: dict[int, tuple[socket.socket, float]] = {}
    made: list[socket.socket] = []
    waits: list[float] = []
    with select.epoll() as poll:

        def collect(timeout_s: float) -> None:
            for descriptor, _ in poll.poll(timeout_s, maxevents=count):
                sock, at = begun.pop(descriptor)
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    made.append(sock)
                    waits.append(time.perf_counter() - at)
                else:
                    sock.close()

        for number in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            begun[sock.fileno()] = sock, time.perf_counter()
            sock.connect_ex(("127.0.0.1", port))
            poll.register(sock, select.EPOLLOUT | select.EPOLLONESHOT)
            if number % 50 == 49:
                collect(0)
        end = time.perf_counter() + _LONGEST_S
        while begun and time.perf_counter() < end:
            collect(0.1)
    for sock, _ in begun.values():
        sock.close()
    return made, waits
