"""One HTTP GET with a deadline, for the load balancer's health checks."""

from __future__ import annotations

import socket
import time

from sglocal.hosts.driver import HostError

_LONGEST_STATUS_LINE = 4096


def status_of(
    probe: socket.socket, address: str, port: int, path: str, timeout_s: float
) -> int | None:
    """The status code `address` answers to `GET path`, None without an HTTP answer in time.

    `probe` is an unconnected socket of the right network namespace; it is closed.
    """
    if not path.startswith("/") or any(ord(letter) <= 32 for letter in path):
        raise HostError(f"{path!r} is no URL path")
    deadline = time.monotonic() + timeout_s
    request = f"GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with probe:
            probe.settimeout(timeout_s)
            probe.connect((address, port))
            probe.sendall(request.encode())
            return parse_status(_first_line(probe, deadline))
    except OSError:  # refused, unreachable, reset, or the deadline: all mean "does not answer"
        return None


def _first_line(probe: socket.socket, deadline: float) -> bytes:
    received = b""
    while b"\n" not in received and len(received) < _LONGEST_STATUS_LINE:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        probe.settimeout(left)
        if not (chunk := probe.recv(1024)):
            break
        received += chunk
    return received.partition(b"\n")[0]


def parse_status(line: bytes) -> int | None:
    """`HTTP/1.1 200 OK` -> 200; None for anything that is no HTTP status line."""
    words = line.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return None
    return int(words[1])
