"""What the kernel has counted of a connection, whoever read and wrote: tcp(7), tcp_info.

https://github.com/torvalds/linux/blob/master/include/uapi/linux/tcp.h (struct tcp_info)
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

_INFO = struct.Struct("<B119xQQ")  # tcpi_state, tcpi_bytes_acked, tcpi_bytes_received
_CLOSE_WAIT = 8  # the other side has sent its FIN, which is counted as a byte
_LOOKS = 5


def bytes_read(connection: socket.socket) -> int:
    """How many bytes any process has ever read from a TCP connection. Raises OSError."""
    (state, _, received), waiting = _counts(connection, termios.FIONREAD)
    return received - waiting - (state == _CLOSE_WAIT)


def bytes_written(connection: socket.socket) -> int:
    """How many bytes the kernel has ever been given for it. Raises OSError."""
    (_, acked, _), waiting = _counts(connection, termios.TIOCOUTQ)
    return acked + waiting


def _counts(connection: socket.socket, queue: int) -> tuple[tuple[int, int, int], int]:
    """tcp_info and the bytes in a queue, of one moment: nothing has arrived in between."""
    for _ in range(_LOOKS):
        info = _info(connection)
        waiting = int(struct.unpack("i", fcntl.ioctl(connection, queue, bytes(4)))[0])
        if info == _info(connection):
            return info, waiting
    raise OSError("bytes arrive faster than they can be counted")


def _info(connection: socket.socket) -> tuple[int, int, int]:
    raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    state, acked, received = _INFO.unpack(raw)
    return state, acked, received
