"""Where workers and other routers are found."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sglrouter.models.base import Document, FleetName, Port, Role, RouterId, Seconds, plain_http


class StaticWorker(Document):
    """A worker given by hand; without an agent its engine's /health is asked instead."""

    url: str
    fleet: FleetName
    agent_url: str | None = None
    role: Role = "regular"
    bootstrap_port: Port | None = None  # of a prefill worker

    @field_validator("url", "agent_url")
    @classmethod
    def _plain_http(cls, value: str | None) -> str | None:
        return None if value is None else plain_http(value)


class AwsDiscovery(Document):
    """Workers are the running instances tagged with this environment and role `worker`."""

    kind: Literal["aws"] = "aws"
    interval_s: Seconds = 5.0
    state_interval_s: Seconds = 0.5
    engine_port: Port = 30000
    agent_port: Port = 30080


class StaticDiscovery(Document):
    """Workers are the ones listed here."""

    kind: Literal["static"] = "static"
    workers: Annotated[tuple[StaticWorker, ...], Field(strict=False)]
    state_interval_s: Seconds = 0.5


class FileDiscovery(Document):
    """Workers are listed in a file (`workers:` as in `static`), read again when it changes."""

    kind: Literal["file"] = "file"
    path: str
    interval_s: Seconds = 1.0
    state_interval_s: Seconds = 0.5


Discovery = Annotated[AwsDiscovery | StaticDiscovery | FileDiscovery, Field(discriminator="kind")]


class WorkerList(Document):
    """The document that `file` discovery reads."""

    workers: Annotated[tuple[StaticWorker, ...], Field(strict=False)]


class StaticRouter(Document):
    """A router given by hand; `id` is alike in every router's document."""

    id: RouterId
    url: str

    @field_validator("url")
    @classmethod
    def _plain_http(cls, value: str) -> str:
        return plain_http(value)


class AwsPeers(Document):
    """The routers are the running instances tagged with this environment and role `router`."""

    kind: Literal["aws"] = "aws"
    interval_s: Seconds = 5.0
    probe_interval_s: Seconds = 0.25


class StaticPeers(Document):
    """The routers are the ones listed here; `self_id` says which of them this one is."""

    kind: Literal["static"] = "static"
    self_id: str
    routers: Annotated[tuple[StaticRouter, ...], Field(strict=False)]
    probe_interval_s: Seconds = 0.25

    @model_validator(mode="after")
    def _consistent(self) -> StaticPeers:
        ids = [router.id for router in self.routers]
        if len(set(ids)) < len(ids):
            raise ValueError("two routers have one `id`")
        if self.self_id not in ids:
            raise ValueError(f"`self_id` {self.self_id!r} is none of `routers`")
        return self


Peers = Annotated[AwsPeers | StaticPeers, Field(discriminator="kind")]
