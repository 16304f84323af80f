"""The router's document: what the routers of one environment do.

Written by Terraform to the SSM parameter `/sglctl/<env>/router`, or kept in a file.
Parsed strictly: an unknown key or a wrong type is an error, never ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from sglrouter.errors import DocumentError
from sglrouter.models.access import External, Keys
from sglrouter.models.base import (
    Document,
    EnvironmentName,
    ExternalName,
    FleetName,
    PolicyName,
    Port,
    Positive,
    Seconds,
    SecretSource,
)
from sglrouter.models.discovery import Discovery, Peers, StaticDiscovery, WorkerList
from sglrouter.models.fleet import FleetRoute


class Listen(Document):
    """Where the router listens; port 0 lets the system choose (tests).

    `processes` share the data port (SO_REUSEPORT) and one view of the workers.
    """

    host: str = "0.0.0.0"  # noqa: S104 - the security group decides who reaches it
    port: Port = 8000
    admin_host: str = "0.0.0.0"  # noqa: S104
    admin_port: Port = 8001
    processes: Annotated[int, Field(ge=1, le=64)] = 1


class Limits(Document):
    """Bounds of one router process."""

    max_body_bytes: Annotated[int, Field(ge=1, le=1 << 30)] = 64 * 1024 * 1024
    drain_s: Annotated[float, Field(ge=0, le=86_400)] = 120.0
    drain_notice_s: Annotated[float, Field(ge=0, le=600)] = 15.0
    max_header_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = 64 * 1024
    max_retries: Annotated[int, Field(ge=0, le=16)] = 2
    connect_timeout_s: Seconds = 2.0
    idle_timeout_s: Seconds = 620.0  # above the load balancer's, which must be first to close


class Affinity(Document):
    """What keeps a conversation where its prefix is cached.

    `index_bytes`: memory of the prefix index, shared by all processes of the host;
    16 bytes hold one block of prompt. `session_header`: names a conversation, if a client sends it.
    `spill_tokens`: a worker that holds the prefix is passed over when another one would compute
    all of the prompt earlier, by the time the mean worker takes for this many tokens.
    """

    index_bytes: Annotated[int, Field(ge=64 * 1024, le=1 << 32)] = 8 * 1024 * 1024
    session_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "x-session-id"
    spill_tokens: Positive = 3_000


class CloudWatch(Document):
    """Numbers that scaling policies use, published per fleet every `interval_s`, zeros too."""

    namespace: Annotated[str, Field(min_length=1, max_length=255)] = "sglctl"
    interval_s: Annotated[float, Field(ge=1, le=3600)] = 10.0


class RouterDocument(Document):
    """Everything a router is told."""

    version: Literal[1] = 1
    environment: EnvironmentName
    listen: Listen = Listen()
    policy: PolicyName = "prefix_aware"
    affinity: Affinity = Affinity()
    fleets: Annotated[dict[FleetName, FleetRoute], Field(min_length=1)]
    externals: dict[ExternalName, External] = {}
    limits: Limits = Limits()
    keys: Keys | None = None
    admin_key: SecretSource | None = None
    discovery: Discovery
    peers: Peers | None = None
    cloudwatch: CloudWatch | None = None

    @model_validator(mode="after")
    def _consistent(self) -> RouterDocument:
        self._check_models()
        self._check_fallback()
        if self.keys is None and self.environment != "local":
            raise ValueError(
                f"environment {self.environment!r} has no `keys`: only `local` may run without"
            )
        if isinstance(self.discovery, StaticDiscovery):
            for worker in self.discovery.workers:
                if worker.fleet not in self.fleets:
                    raise ValueError(
                        f"worker {worker.url} is of fleet {worker.fleet!r}, not in `fleets`"
                    )
        return self

    def _check_models(self) -> None:
        owner: dict[str, str] = {}
        for name, fleet in self.fleets.items():
            for model in fleet.models:
                if model in owner:
                    raise ValueError(f"model {model!r} is in fleets {owner[model]!r} and {name!r}")
                owner[model] = name

    def _check_fallback(self) -> None:
        for name, fleet in self.fleets.items():
            seen = {name}
            for tier in fleet.fallback:
                if tier.name in seen:
                    raise ValueError(f"fallback of fleet {name!r} names {tier.name!r} twice")
                seen.add(tier.name)
                if tier.fleet is not None and tier.fleet not in self.fleets:
                    raise ValueError(f"fallback of fleet {name!r}: no fleet {tier.fleet!r}")
                if tier.external is not None and tier.external not in self.externals:
                    raise ValueError(f"fallback of fleet {name!r}: no external {tier.external!r}")


def problems(error: ValidationError) -> str:
    """Every wrong key and why, on one line."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'document'}: {item['msg']}"
        for item in error.errors(include_url=False)
    )


def _mapping(text: str, source: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)  # JSON is YAML
    except yaml.YAMLError as error:
        raise DocumentError(f"{source}: not YAML or JSON: {error}") from error
    if not isinstance(data, dict):
        raise DocumentError(f"{source}: expected a mapping, found {type(data).__name__}")
    return data


def parse_document(text: str, source: str) -> RouterDocument:
    """The document in `text` (YAML or JSON); raises DocumentError naming `source` and keys."""
    try:
        return RouterDocument.model_validate(_mapping(text, source))
    except ValidationError as error:
        raise DocumentError(f"{source}: {problems(error)}") from error


def parse_worker_list(text: str, source: str) -> WorkerList:
    """The workers in `text` (YAML or JSON); raises DocumentError naming `source` and keys."""
    try:
        return WorkerList.model_validate(_mapping(text, source))
    except ValidationError as error:
        raise DocumentError(f"{source}: {problems(error)}") from error
