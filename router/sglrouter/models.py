"""The router's document: what the routers of one environment do.

Written by Terraform to the SSM parameter `/sglctl/<env>/router`, or kept in a file.
Parsed strictly: an unknown key or a wrong type is an error, never ignored.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sglrouter.errors import DocumentError

PolicyName = Literal["least_load", "round_robin"]
EnvironmentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=10)]
FleetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=16)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]

SECRET_NAME = re.compile(r"^[A-Za-z0-9/_+=.@:-]{1,512}$")


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Listen(_Document):
    """Where the router listens; port 0 lets the system choose (tests)."""

    host: str = "0.0.0.0"  # noqa: S104 - the security group decides who reaches it
    port: Port = 8000
    admin_host: str = "0.0.0.0"  # noqa: S104
    admin_port: Port = 8001


ANY_MODEL = "*"


class FleetRoute(_Document):
    """One fleet: the model names it answers to, and how long a first byte may take.

    `engine` and `context_length` are what `/v1/models` says as `owned_by` and `max_model_len`.
    The name `*` answers to every model no fleet names; `/v1/models` is then a worker's own list.
    """

    models: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    engine: str = "sglang"
    context_length: Annotated[int, Field(ge=1)] | None = None
    first_byte_timeout_s: Seconds = 300.0
    max_in_flight: Annotated[int, Field(ge=1)] | None = None


class Limits(_Document):
    """Bounds of one router process."""

    max_body_bytes: Annotated[int, Field(ge=1, le=1 << 30)] = 64 * 1024 * 1024
    drain_s: Annotated[float, Field(ge=0, le=86_400)] = 120.0
    drain_notice_s: Annotated[float, Field(ge=0, le=600)] = 15.0
    max_header_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = 64 * 1024
    max_retries: Annotated[int, Field(ge=0, le=16)] = 2
    connect_timeout_s: Seconds = 2.0
    idle_timeout_s: Seconds = 620.0  # above the load balancer's, which must be first to close


class Keys(_Document):
    """Where the clients' API keys come from: a secret or a file, `{"<name>": "<key>"}`."""

    secret: str | None = None
    file: str | None = None
    interval_s: Seconds = 60.0

    @model_validator(mode="after")
    def _exactly_one(self) -> Keys:
        if (self.secret is None) == (self.file is None):
            raise ValueError("give exactly one of `secret` and `file`")
        if self.secret is not None and not SECRET_NAME.match(self.secret):
            raise ValueError(f"{self.secret!r} is not a name of a Secrets Manager secret")
        return self


class StaticWorker(_Document):
    """A worker given by hand; without an agent its engine's /health is asked instead."""

    url: str
    fleet: FleetName
    agent_url: str | None = None

    @field_validator("url", "agent_url")
    @classmethod
    def _plain_http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        port = parts.port  # raises ValueError when it is not a number
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"{value!r}: write http://HOST:PORT")
        if port is None:
            raise ValueError(f"{value!r} has no port: write http://HOST:PORT")
        return value


class AwsDiscovery(_Document):
    """Workers are the running instances tagged with this environment and role `worker`."""

    kind: Literal["aws"] = "aws"
    interval_s: Seconds = 5.0
    state_interval_s: Seconds = 0.5
    engine_port: Port = 30000
    agent_port: Port = 30080


class StaticDiscovery(_Document):
    """Workers are the ones listed here."""

    kind: Literal["static"] = "static"
    workers: Annotated[tuple[StaticWorker, ...], Field(strict=False)]
    state_interval_s: Seconds = 0.5


class FileDiscovery(_Document):
    """Workers are listed in a file (`workers:` as in `static`), read again when it changes."""

    kind: Literal["file"] = "file"
    path: str
    interval_s: Seconds = 1.0
    state_interval_s: Seconds = 0.5


Discovery = Annotated[AwsDiscovery | StaticDiscovery | FileDiscovery, Field(discriminator="kind")]


class WorkerList(_Document):
    """The document that `file` discovery reads."""

    workers: Annotated[tuple[StaticWorker, ...], Field(strict=False)]


class RouterDocument(_Document):
    """Everything a router is told."""

    version: Literal[1] = 1
    environment: EnvironmentName
    listen: Listen = Listen()
    policy: PolicyName = "least_load"
    fleets: Annotated[dict[FleetName, FleetRoute], Field(min_length=1)]
    limits: Limits = Limits()
    keys: Keys | None = None
    discovery: Discovery

    @model_validator(mode="after")
    def _consistent(self) -> RouterDocument:
        owner: dict[str, str] = {}
        for name, fleet in self.fleets.items():
            for model in fleet.models:
                if model in owner:
                    raise ValueError(f"model {model!r} is in fleets {owner[model]!r} and {name!r}")
                owner[model] = name
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
