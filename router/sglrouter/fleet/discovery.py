"""Where workers are found: AWS, a file, or the document itself.

A source either returns the whole set or raises DiscoveryError: failing to read is never an
empty result, and the registrar then keeps the set it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from sglrouter.aws import AwsError, call
from sglrouter.errors import DiscoveryError, DocumentError
from sglrouter.fleet.workers import Address, Seen
from sglrouter.models import (
    AwsDiscovery,
    Discovery,
    FileDiscovery,
    StaticWorker,
    parse_worker_list,
)

HOST_ADDRESS = "SGLCTL_HOST_ADDRESS"


class Source(Protocol):
    interval_s: float

    async def read(self) -> list[Seen]:
        """The workers there are now. Raises DiscoveryError."""


def address_of(url: str) -> Address:
    """http://HOST:PORT as an address. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.port is None:
        raise ValueError(f"{url!r} is not http://HOST:PORT")
    return Address(parts.hostname, parts.port)


def seen_static(workers: Iterable[StaticWorker]) -> list[Seen]:
    return [
        Seen(
            id=str(address_of(worker.url)),
            fleet=worker.fleet,
            engine=address_of(worker.url),
            agent=address_of(worker.agent_url) if worker.agent_url else None,
            role=worker.role,
            bootstrap_port=worker.bootstrap_port,
        )
        for worker in workers
    ]


def reachable_address(private_ip: str, own_address: str | None) -> str:
    """Where an instance's processes answer.

    Where instances are processes of one machine (this router's own host address is a loopback
    one), private address a.b.c.d is served at 127.b.c.d.
    """
    if own_address is None or not own_address.startswith("127."):
        return private_ip
    return "127." + private_ip.split(".", 1)[1]


def seen_instances(
    reservations: Iterable[Mapping[str, Any]], source: AwsDiscovery, own_address: str | None
) -> list[Seen]:
    """The workers of DescribeInstances' answer; an instance without address or fleet is left out.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
    """
    found = []
    for reservation in reservations:
        for instance in reservation.get("Instances", ()):
            tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())}
            private_ip = instance.get("PrivateIpAddress")
            own = tags.get("sglctl:fleet")
            fleet = tags.get("sglctl:pair") or own
            if not private_ip or not own or not fleet:
                continue
            host = reachable_address(private_ip, own_address)
            found.append(
                Seen(
                    id=instance["InstanceId"],
                    fleet=fleet,
                    engine=Address(host, source.engine_port),
                    agent=Address(host, source.agent_port),
                    told_fleet=own,
                )
            )
    return found


class StaticSource:
    interval_s = 3600.0

    def __init__(self, workers: Iterable[StaticWorker]) -> None:
        self._seen = seen_static(workers)

    async def read(self) -> list[Seen]:
        return self._seen


class FileSource:
    """Reads the file when it was replaced (rename) or written; half a file is no new set."""

    def __init__(self, document: FileDiscovery) -> None:
        self.interval_s = document.interval_s
        self._path = Path(document.path)
        self._version: tuple[int, int, int] | None = None
        self._seen: list[Seen] = []

    async def read(self) -> list[Seen]:
        try:
            return await asyncio.to_thread(self._read)
        except (OSError, UnicodeDecodeError, DocumentError) as error:
            raise DiscoveryError(f"worker list: {error}") from error

    def _read(self) -> list[Seen]:
        found = self._path.stat()  # before reading: a later change is then seen next time
        version = (found.st_mtime_ns, found.st_ino, found.st_size)
        if version != self._version:
            workers = parse_worker_list(self._path.read_text(), str(self._path)).workers
            self._seen, self._version = seen_static(workers), version
        return self._seen


def running_instances(environment: str, role: str) -> list[Mapping[str, Any]]:
    """Reservations of the running instances with these tags. Raises AwsError. Blocks."""
    filters = [
        {"Name": "tag:sglctl:environment", "Values": [environment]},
        {"Name": "tag:sglctl:role", "Values": [role]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]

    def describe(ec2: Any) -> list[Mapping[str, Any]]:
        pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
        return [item for page in pages for item in page["Reservations"]]

    return call("ec2", describe)


class AwsSource:
    """Running instances tagged with the environment and role `worker`."""

    def __init__(self, document: AwsDiscovery, environment: str, own_address: str | None) -> None:
        self.interval_s = document.interval_s
        self._document = document
        self._environment = environment
        self._own_address = own_address

    async def read(self) -> list[Seen]:
        try:
            found = await asyncio.to_thread(running_instances, self._environment, "worker")
        except AwsError as error:
            raise DiscoveryError(str(error)) from error
        return seen_instances(found, self._document, self._own_address)


def make_source(document: Discovery, environment: str, own_address: str | None) -> Source:
    if isinstance(document, AwsDiscovery):
        return AwsSource(document, environment, own_address)
    if isinstance(document, FileDiscovery):
        return FileSource(document)
    return StaticSource(document.workers)
