"""The emulator's errors.

LocalError                what a user did or met; printed as one line, exit code 1
├── PortTakenError        an address is in use by another program
└── MissingToolError      a program of the operating system is not installed
HostError                 (sglocal.hosts.driver) a host could not be made, reached or removed
"""

from __future__ import annotations


class LocalError(Exception):
    """One clear line: what, where, and what to do."""


class PortTakenError(LocalError):
    """An address is in use by another program."""

    def __init__(self, address: str, port: int, remedy: str) -> None:
        super().__init__(f"{address}:{port} is in use by another program; {remedy}")


class MissingToolError(LocalError):
    """A program is not installed."""

    def __init__(self, tool: str, package: str) -> None:
        super().__init__(f"{tool} is not installed; run: apt-get install -y {package}")
