"""A fleet: workers and router serving one model in one environment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sglctl.config.base import FleetName, InstanceType, ModelName, Strict, Tags, Texts
from sglctl.config.routing import Breaker, PolicyName, Queue, Tier


class Capacity(Strict):
    """How many workers; 0 <= min <= desired <= max."""

    min: int = Field(ge=0, le=1000, description="Fewest workers, never scaled below.")
    max: int = Field(ge=0, le=1000, description="Most workers, never scaled above.")
    desired: int = Field(
        ge=0,
        le=1000,
        description="Workers at the first apply; afterwards scaling or `sglctl scale` writes it.",
    )


class WarmPool(Strict):
    """Instances that booted, read their weights and wait; only for the on-demand group."""

    min: int = Field(ge=0, le=1000, description="Fewest prepared instances beside the group.")
    max_prepared: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Most instances in service and prepared together; absent: the group's max.",
    )
    state: Literal["Stopped", "Running", "Hibernated"] = Field(
        default="Stopped",
        description="How prepared instances wait. Stopped pays for storage only, and holds no "
        "GPU capacity; GPU instances cannot hibernate.",
    )
    reuse_on_scale_in: bool = Field(
        default=False,
        description="Return instances to the warm pool on scale-in instead of terminating them.",
    )


class Purchase(Strict):
    """On-demand and Spot: the first `on_demand_base` workers, then a share of the rest."""

    on_demand_base: int = Field(
        default=0, ge=0, le=1000, description="Workers that are always on-demand."
    )
    spot_percentage: int = Field(
        default=0, ge=0, le=100, description="Share of the workers above the base bought as Spot."
    )


class Scaling(Strict):
    """Target tracking of one metric per worker."""

    metric: Literal["queued", "in_flight", "token_usage"] = Field(
        default="queued",
        description="What is kept near the target: requests waiting per worker, requests "
        "running per worker, or the used share of KV cache tokens (0..1).",
    )
    target: float = Field(gt=0, description="Value of the metric, per worker, to keep.")
    scale_in: bool = Field(default=True, description="Whether idle workers are taken away.")
    warm_up_s: int = Field(
        default=300, ge=0, le=3600, description="Seconds a new worker is left out of the metric."
    )


class Slo(Strict):
    """What clients may expect; gates of a rollout and alarms read it."""

    ttft_p95_ms: float | None = Field(
        default=None, gt=0, description="95th percentile of the time to the first token, ms."
    )
    itl_p95_ms: float | None = Field(
        default=None, gt=0, description="95th percentile of the gap between tokens, ms."
    )
    error_rate: float | None = Field(
        default=None, ge=0, le=1, description="Share of requests that may fail."
    )


class Rollout(Strict):
    """How a release moves through the fleet (reserved; read by `sglctl rollout`)."""

    canary: int = Field(default=1, ge=0, le=100, description="Workers moved first, then watched.")
    wave_percentage: int = Field(
        default=25, ge=1, le=100, description="Share of the fleet moved per wave."
    )


class RootVolume(Strict):
    """The gp3 root volume of a worker (holds system, engine and weights)."""

    size_gb: int | None = Field(
        default=None,
        ge=8,
        le=16384,
        description="Size in GB; absent: 1.25 times the weights plus 12 GB, at least 60.",
    )
    iops: int = Field(default=3000, ge=3000, le=16000, description="gp3 IOPS; 3000 are free.")
    throughput_mbps: int = Field(
        default=125, ge=125, le=1000, description="gp3 throughput in MB/s; 125 are free."
    )


class WarmUp(Strict):
    """Real generations before a worker counts as ready."""

    prompts: int = Field(default=2, ge=1, le=64, description="Prompts generated.")
    timeout_s: int = Field(default=600, ge=10, le=7200, description="Longest warm-up in seconds.")


class Disaggregation(Strict):
    """How the prefill and decode workers of one model meet; said on the decode fleet."""

    transfer_backend: Literal["mooncake", "mooncake_tcp", "nixl", "mori", "ascend"] = Field(
        default="mooncake",
        description="What moves the KV cache (--disaggregation-transfer-backend); the image must "
        "hold it. mooncake_tcp needs no RDMA.",
    )
    bootstrap_port: int = Field(
        default=8998,
        ge=1024,
        le=32767,
        description="Where decode workers meet a prefill worker; above are ephemeral ports, which "
        "a client's connection may hold.",
    )


class Fleet(Strict):
    """Workers serving one model."""

    model: ModelName = Field(description="A file of config/models, without `.yaml`.")
    serve_as: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$",
        description="Model name clients ask for; absent: the name of the model.",
    )
    engine: Literal["sglang", "stub", "vllm"] = Field(
        default="sglang",
        description="Engine. stub imitates SGLang and is for environments on this machine only; "
        "vllm is reserved.",
    )
    engine_args: Texts = Field(
        default=(), description="Engine arguments after those of the model and its GPU family."
    )
    engine_environment: dict[
        Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")], str
    ] = Field(default={}, description="Environment variables of the engine.")  # fmt: skip
    role: Literal["regular", "prefill", "decode"] = Field(
        default="regular",
        description="regular: every worker prefills and decodes. prefill and decode: half of a "
        "pair; clients ask for the decode fleet, and its routing holds for both.",
    )
    prefill_for: FleetName | None = Field(
        default=None, description="Of a prefill fleet: the decode fleet whose prompts it computes."
    )
    disaggregation: Disaggregation | None = Field(
        default=None, description="Of a decode fleet: how its pairs meet; absent: the defaults."
    )
    instance_types: Annotated[tuple[InstanceType, ...], Field(strict=False, min_length=1)] = Field(
        description="EC2 instance types in order of preference; one for a warm pool."
    )
    tensor_parallel: int | None = Field(
        default=None,
        ge=1,
        le=8,
        description="GPUs that share one copy of the model; absent: as the model file says.",
    )
    context_length: int | None = Field(
        default=None,
        ge=256,
        description="Longest prompt plus answer in tokens; absent: the model's.",
    )
    mem_fraction: float | None = Field(
        default=None,
        gt=0.1,
        lt=1,
        description="Share of GPU memory for weights and KV cache; absent: as the model file says.",
    )
    capacity: Capacity = Field(description="How many workers.")
    warm_pool: WarmPool | None = Field(default=None, description="Prepared instances, or null.")
    purchase: Purchase = Field(default=Purchase(), description="On-demand and Spot.")
    scaling: Scaling | None = Field(
        default=None, description="Automatic scaling (reserved), or null: by hand."
    )
    slo: Slo = Field(default=Slo(), description="Service level objectives.")
    rollout: Rollout = Field(default=Rollout(), description="How releases move (reserved).")
    root_volume: RootVolume = Field(default=RootVolume(), description="Root volume of a worker.")
    hydrate: bool = Field(
        default=True, description="Read every weight file once before the engine starts."
    )
    warm_up: WarmUp = Field(default=WarmUp(), description="Generations before ready.")
    policy: PolicyName | None = Field(
        default=None, description="How a worker is chosen; absent: the router's `policy`."
    )
    first_byte_timeout_s: int | None = Field(
        default=None,
        ge=1,
        le=3600,
        description="Longest wait for a first byte, seconds; absent: 300, or 5 with a `fallback`.",
    )
    max_in_flight: int | None = Field(
        default=None, ge=1, description="Most requests at once, per router; more of them queue."
    )
    max_in_flight_per_worker: int = Field(
        default=256, ge=1, description="Most requests of one router on one worker."
    )
    queue: Queue = Field(default=Queue(), description="Requests that wait at the router.")
    breaker: Breaker = Field(default=Breaker(), description="When a worker is left alone.")
    fallback: Annotated[tuple[Tier, ...], Field(strict=False, max_length=8)] = Field(
        default=(), description="Where requests go, in order, when this fleet fails."
    )
    launch_timeout_s: int = Field(
        default=1800, ge=60, le=7200, description="Longest time from launch to ready, seconds."
    )
    drain_deadline_s: int = Field(
        default=600,
        ge=30,
        le=12000,
        description="Longest drain in seconds; streams still open then are cut and counted.",
    )
    on_rebalance: Literal["record", "drain"] = Field(
        default="record",
        description="A Spot rebalance recommendation: record goes on (the group launches another "
        "first and drains this one then), drain drains at once.",
    )
    tags: Tags = Field(default={}, description="Tags of this fleet's instances and volumes.")

    @property
    def first_byte_s(self) -> int:
        """What `first_byte_timeout_s` means when it is absent: the router's default, seconds."""
        return self.first_byte_timeout_s or (5 if self.fallback else 300)
