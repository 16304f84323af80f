"""An environment: one file of config/environments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sglctl.config.base import Cidrs, FleetName, InstanceType, Port, Region, ReleaseId, Strict, Tags
from sglctl.config.fleet import Fleet
from sglctl.config.routing import Affinity, External, ExternalName, PolicyName

SubnetIds = Annotated[
    tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]+$")], ...],
    Field(strict=False, min_length=2),
]


class ExistingNetwork(Strict):
    """A VPC somebody else manages."""

    vpc_id: str = Field(pattern=r"^vpc-[0-9a-f]+$", description="The VPC.")
    public_subnet_ids: SubnetIds = Field(
        description="Subnets of the load balancer, in two zones or more."
    )
    private_subnet_ids: SubnetIds = Field(
        description="Subnets of routers and workers, in two zones or more."
    )


class Network(Strict):
    """A new VPC, or an existing one."""

    cidr: str = Field(
        default="10.0.0.0/16",
        pattern=r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$",
        description="Addresses of the new VPC (/16 to /22).",
    )
    availability_zones: int = Field(
        default=2, ge=2, le=6, description="Zones the subnets spread over."
    )
    nat: Literal["single", "per_zone", "none"] = Field(
        default="single",
        description="NAT gateways: one, one per zone (survives a zone), or none.",
    )
    existing: ExistingNetwork | None = Field(
        default=None, description="Use this VPC instead of a new one."
    )


class Tls(Strict):
    """The load balancer's certificate: by ARN, or found by its domain in ACM."""

    certificate_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/.+$",
        description="ACM certificate.",
    )
    domain: str | None = Field(
        default=None,
        pattern=r"^(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$",
        description="Domain of an issued ACM certificate; clients use this name.",
    )


class RouterLimits(Strict):
    """Bounds of one router."""

    max_body_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1024, le=1 << 30, description="Largest request body."
    )
    drain_s: int = Field(
        default=120, ge=0, le=3600, description="Longest drain of a router in seconds."
    )
    drain_notice_s: int = Field(
        default=15,
        ge=0,
        le=600,
        description="Seconds a draining router still accepts, so that the load balancer notices.",
    )


class Router(Strict):
    """The routers and the load balancer before them."""

    instance_type: InstanceType = Field(default="c7i.large", description="EC2 instance type.")
    count: int = Field(default=2, ge=1, le=16, description="Routers; two survive one's loss.")
    listener_port: Port = Field(default=443, description="Port of the load balancer.")
    tls: Tls | None = Field(
        default=None, description="Certificate; required except where `target` is local."
    )
    internal: bool = Field(default=False, description="Load balancer in private subnets only.")
    allowed_cidrs: Cidrs = Field(
        default=("0.0.0.0/0",), description="Who reaches the load balancer."
    )
    admin_cidrs: Cidrs = Field(
        default=(), description="Who reaches the routers' admin port; never the whole internet."
    )
    api_keys: bool = Field(
        default=True, description="Clients need a key of the environment's secret."
    )
    failed_keys_per_minute: int = Field(
        default=60, ge=1, description="Wrong keys a client's address may send; then 429."
    )
    admin_key: bool = Field(
        default=True,
        description="The routers' admin port needs the key of its own secret; metrics and health "
        "do not.",
    )
    cloudwatch: bool = Field(
        default=True, description="Publish each fleet's load to CloudWatch every ten seconds."
    )
    processes: int = Field(
        default=1, ge=1, le=64, description="Router processes on each host; one uses one core."
    )
    policy: PolicyName = Field(default="prefix_aware", description="How a worker is chosen.")
    affinity: Affinity = Field(
        default=Affinity(), description="What keeps a conversation on one worker."
    )
    idle_timeout_s: int = Field(
        default=600,
        ge=1,
        le=4000,
        description="Silence after which the load balancer cuts; covers a long wait for a token.",
    )
    deregistration_delay_s: int = Field(
        default=120, ge=0, le=3600, description="Seconds a leaving router keeps its streams."
    )
    root_volume_gb: int = Field(default=20, ge=8, le=1024, description="Root volume in GB.")
    limits: RouterLimits = Field(default=RouterLimits(), description="Bounds of one router.")


class Observability(Strict):
    """Logs and alarms."""

    log_retention_days: Literal[
        1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653
    ] = Field(default=30, description="Days logs are kept (values CloudWatch offers).")
    alarm_topic_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:.+$",
        description="SNS topic that alarms notify; null: alarms are only shown.",
    )
    queue_depth: int = Field(
        default=10, ge=1, description="Requests waiting in a fleet that raise an alarm."
    )


class Environment(Strict):
    """Everything wanted in one environment. Its name is the name of its file."""

    target: Literal["aws", "local"] = Field(
        default="aws", description="AWS, or the AWS of this machine (sglocal)."
    )
    region: Region = Field(description="AWS region.")
    account: str | None = Field(
        default=None,
        pattern=r"^\d{12}$",
        description="Account guard, quoted: with credentials of another account nothing is done.",
    )
    release: ReleaseId = Field(description="A file of config/releases, without `.yaml`.")
    tags: Tags = Field(default={}, description="Tags of everything in the environment.")
    network: Network = Field(default=Network(), description="Where it runs.")
    router: Router = Field(default=Router(), description="Routers and load balancer.")
    fleets: Annotated[dict[FleetName, Fleet], Field(min_length=1)] = Field(
        description="Fleets by name."
    )
    externals: dict[ExternalName, External] = Field(
        default={}, description="APIs outside that a fleet's `fallback` may name."
    )
    observability: Observability = Field(default=Observability(), description="Logs and alarms.")
