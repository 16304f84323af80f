"""The documents the agent reads and the state it tells; the router and sglctl import these.

Documents are parsed strictly: an unknown key or a wrong type is an error.
`WorkerState` is read leniently, since during a rollout routers meet agents of another release.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sglworker.errors import DocumentError

EnvironmentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=10)]
FleetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=16)]
Port = Annotated[int, Field(ge=1, le=65535)]
Role = Literal["regular", "prefill", "decode"]
StateName = Literal[
    "booting",
    "hydrating",
    "starting",
    "warming_up",
    "ready",
    "draining",
    "drained",
    "failed",
    "warmed",
]

PhaseName = Literal[
    "launch", "boot", "agent", "hydrate", "warmed", "engine_start", "warm_up", "ready",
    "first_request",
]  # fmt: skip


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UserData(_Document):
    """What an instance is told when it launches: which fleet's document to read."""

    environment: EnvironmentName
    fleet: FleetName
    release: Annotated[str, Field(min_length=1)]


class WarmUp(_Document):
    """Real generations before the worker is ready: how many, and how long they may take."""

    prompts: Annotated[int, Field(ge=1, le=64)] = 2
    timeout_s: Annotated[float, Field(gt=0, le=7200)] = 600.0


class Disaggregation(_Document):
    """How prefill and decode workers of one model meet; unused by regular ones.

    `transfer_backend`: SGLang's `--disaggregation-transfer-backend`; `mooncake_tcp` needs no RDMA.
    `bootstrap_port`: where a prefill worker is met; below the kernel's range of ephemeral ports
    (from 32768), else a client's connection may hold it when the engine starts.
    """

    transfer_backend: Literal["mooncake", "mooncake_tcp", "nixl", "mori", "ascend"] = "mooncake"
    bootstrap_port: Port = 8998


class FleetDocument(_Document):
    """What every worker of a fleet runs; SSM parameter `/sglctl/<env>/fleets/<fleet>/worker`."""

    version: Literal[1] = 1
    environment: EnvironmentName
    fleet: FleetName
    role: Role = "regular"
    disaggregation: Disaggregation = Disaggregation()
    release: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(min_length=1)]
    served_model_name: Annotated[str, Field(min_length=1)]
    context_length: Annotated[int, Field(ge=1)]
    engine: Literal["sglang", "stub"] = "sglang"
    engine_args: tuple[str, ...] = ()
    engine_env: dict[str, str] = {}
    engine_port: Port = 30000
    agent_port: Port = 30080
    hydrate: bool = True
    warm_up: WarmUp = WarmUp()
    launch_timeout_s: Annotated[float, Field(gt=0, le=172_800)] = 1800.0
    drain_deadline_s: Annotated[float, Field(ge=0, le=172_800)] = 600.0
    on_rebalance: Literal["record", "drain"] = "record"


class HostEngine(_Document):
    """The engine this image has, and what it always needs."""

    kind: Literal["sglang", "stub"]
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    args: tuple[str, ...] = ()
    environment: dict[str, str] = {}


class HostModel(_Document):
    """The weights baked into this image."""

    name: Annotated[str, Field(min_length=1)]
    path: Path


class HostDocument(_Document):
    """`/etc/sglworker/worker.yaml`: what this image has."""

    version: Literal[1] = 1
    bind: str = "0.0.0.0"  # noqa: S104 - the security group decides who reaches it
    engine: HostEngine
    model: HostModel


class EngineCommand(_Document):
    """`engine.json`: what `sglworker engine` becomes."""

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    environment: dict[str, str] = {}


class Phase(BaseModel):
    """A phase of a worker's way into service: when it began, and how long until the next one."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    at: datetime
    seconds: float | None = None


class WorkerState(BaseModel):
    """`GET /state` of an agent.

    `load_age_s` says how old `in_flight`, `queued`, `token_usage` and `cache_hit_rate` are
    (seconds; null: never read). A failed read leaves the last known values and lets it grow.
    `bootstrap_port`: of a prefill worker, where decode workers meet it.
    `adapters`: names of the LoRA adapters the engine has loaded.
    `max_running_requests`: how many the engine runs at once (null: not known yet).
    `weights_bytes`, `hydration_mbps`: of all weight files, and how fast they are or were read
    (null: not yet, or not read because they are hot). `timeline`: phases in the order of their
    begin. `warm_up_s`: seconds of each warm-up generation.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal[1] = 1
    instance_id: str
    environment: str
    fleet: str
    role: Role
    release: str
    model: str
    served_model_name: str
    engine: str
    engine_version: str
    engine_url: str
    state: StateName
    since: datetime
    reason: str = ""
    in_flight: int = 0
    queued: int = 0
    token_usage: float = 0.0
    cache_hit_rate: float = 0.0
    load_age_s: float | None = None
    hydrated_bytes: int = 0
    drain_deadline: datetime | None = None
    cut_streams: int = 0
    bootstrap_port: int | None = None
    adapters: tuple[str, ...] = ()
    max_running_requests: int | None = None
    weights_bytes: int | None = None
    hydration_mbps: float | None = None
    timeline: tuple[Phase, ...] = ()
    warm_up_s: dict[str, float] = {}


Parsed = TypeVar("Parsed", bound=BaseModel)


def parse(kind: type[Parsed], text: str | bytes, source: str) -> Parsed:
    """`text` (YAML or JSON) as a `kind`; DocumentError names `source` and every wrong key."""
    try:
        data: Any = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DocumentError(f"{source}: not YAML or JSON: {error}") from error
    if not isinstance(data, dict):
        raise DocumentError(f"{source}: expected a mapping, found {type(data).__name__}")
    try:
        # JSON mode: tuples and paths come from lists and strings, nothing else is converted.
        return kind.model_validate_json(json.dumps(data), strict=True)
    except (ValidationError, TypeError) as error:
        raise DocumentError(f"{source}: {_problems(error)}") from error


def _problems(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):  # e.g. an unquoted date in YAML
        return f"{error} (quote the value)"
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}"
        for item in error.errors(include_url=False)
    )
