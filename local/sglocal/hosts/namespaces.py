"""Network namespaces: make and remove named ones, and make sockets inside them.

A socket belongs for life to the namespace it was created in, so a thread that lives for
microseconds inside the namespace is enough; everything after `socket()` happens anywhere.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sglocal.hosts.driver import HostError
from sglocal.hosts.tool import tool

CLONE_NEWNET = 0x40000000
NETNS_DIR = Path("/run/netns")

T = TypeVar("T")


def enter_network(name: str) -> None:
    """Move the calling thread into a named network namespace (setns(2)). Raises HostError."""
    try:
        handle = os.open(NETNS_DIR / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise HostError(f"no network namespace {name}: is the emulator up?") from error
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise HostError(f"cannot enter network namespace {name}: {os.strerror(number)}")
    finally:
        os.close(handle)


def inside(name: str, act: Callable[[], T]) -> T:
    """The result of `act`, called on a thread of its own inside the namespace; keep it short."""
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            enter_network(name)
            results.append(act())
        except BaseException as error:  # raised again in the calling thread
            errors.append(error)

    thread = threading.Thread(target=work, name=f"netns-{name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def tcp_socket(namespace: str | None) -> socket.socket:
    """An unconnected TCP socket of the namespace (None: the caller's own)."""

    def make() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    return make() if namespace is None else inside(namespace, make)


def listening_socket(namespace: str | None, address: str, port: int) -> socket.socket:
    """A listening TCP socket at address:port of the namespace. Raises HostError."""
    made = tcp_socket(namespace)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(1024)
    except OSError as error:
        made.close()
        where = f" in network namespace {namespace}" if namespace else ""
        raise HostError(f"cannot listen on {address}:{port}{where}: {error.strerror}") from error
    return made


def names(prefix: str) -> list[str]:
    """Named namespaces that start with `prefix`, sorted."""
    if not NETNS_DIR.is_dir():
        return []
    return sorted(entry.name for entry in NETNS_DIR.iterdir() if entry.name.startswith(prefix))


def add(name: str) -> None:
    tool(["ip", "netns", "add", name])


def remove(name: str) -> None:
    """Remove the name, and with its last process the namespace and its links. No error if gone."""
    if (NETNS_DIR / name).exists():
        tool(["ip", "netns", "delete", name])


def configure(name: str, lines: list[str]) -> None:
    """Run `ip` commands inside the namespace, one a line, in one process."""
    tool(["ip", "-n", name, "-batch", "-"], stdin="\n".join(lines) + "\n")
