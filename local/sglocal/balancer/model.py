"""What HAProxy must serve, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

ServerState = Literal["ready", "drain", "maint"]


@dataclass(frozen=True)
class Target:
    """One member of a target group."""

    target_id: str
    address: str
    port: int
    state: ServerState


@dataclass(frozen=True)
class Pool:
    """A target group. `name` is unique and safe in a configuration."""

    name: str
    targets: Sequence[Target]
    least_outstanding: bool = False
    idle_timeout_s: int = 60


@dataclass(frozen=True)
class Forward:
    """To target groups by weight."""

    pools: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Fixed:
    """Answer without a target."""

    status: int
    content_type: str
    body: str


@dataclass(frozen=True)
class Redirect:
    """Send the client elsewhere."""

    location: str
    status: int


Action = Forward | Fixed | Redirect


@dataclass(frozen=True)
class Rule:
    """A listener rule on hosts and paths (both with AWS's wildcards)."""

    paths: Sequence[str]
    hosts: Sequence[str]
    action: Action


@dataclass(frozen=True)
class Listener:
    """One port of a load balancer. `port` is what AWS says, `bound` where it is served."""

    name: str
    balancer: str
    port: int
    bound: int
    certificates: Sequence[str]
    idle_timeout_s: int
    default: Action
    rules: Sequence[Rule] = field(default_factory=tuple)


@dataclass(frozen=True)
class Model:
    """Everything HAProxy serves."""

    listeners: Sequence[Listener]
    pools: Sequence[Pool]
