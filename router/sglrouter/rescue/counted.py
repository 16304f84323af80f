"""What the kernel has counted of a connection, whoever read and wrote: tcp(7), tcp_info.

https://github.com/torvalds/linux/blob/master/include/uapi/linux/tcp.h (struct tcp_info)
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections.abc import Callable

_INFO = struct.Struct("<B119xQQ")  # tcpi_state, tcpi_bytes_acked, tcpi_bytes_received
_CLOSE_WAIT = 8  # the other side has sent its FIN, which is counted as a byte
_LOOKS = 5


def bytes_read(connection: socket.socket) -> int:
    """How many bytes any process has ever read from a TCP connection. Raises OSError."""

    def count() -> int:
        state, _, received = _info(connection)
        return received - _queued(connection, termios.FIONREAD) - (state == _CLOSE_WAIT)

    return _at_rest(connection, count)


def bytes_written(connection: socket.socket) -> int:
    """How many bytes the kernel has ever been given for it. Raises OSError."""

    def count() -> int:
        return _info(connection)[1] + _queued(connection, termios.TIOCOUTQ)

    return _at_rest(connection, count)


def _at_rest(connection: socket.socket, count: Callable[[], int]) -> int:
    """Two calls make one number: only if nothing has arrived in between."""
    for _ in range(_LOOKS):
        before, number = _info(connection), count()
        if before == _info(connection):
            return number
    raise OSError("bytes arrive faster than they can be counted")


def _info(connection: socket.socket) -> tuple[int, int, int]:
    raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    state, acked, received = _INFO.unpack(raw)
    return state, acked, received


def _queued(connection: socket.socket, which: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(connection, which, bytes(4)))[0])
