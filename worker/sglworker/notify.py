"""sd_notify(3): tell systemd how the start goes. Does nothing without NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket


def notify(*assignments: str) -> None:
    """Send e.g. `READY=1`, `STATUS=…`. A message that cannot be sent is lost, as in libsystemd."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.connect(address)
            connection.send("\n".join(assignments).encode())
        except OSError:
            return
