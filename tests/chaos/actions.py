"""What can be done to a fleet, as data: the vocabulary of `scenarios/*.yaml`.

`worker` counts the fleet's ready workers at the scenario's begin, ordered by instance id; `router`
counts the live routers. `for_s`: taken back after so many seconds; without it, when all actions
are done.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Action(BaseModel):
    """`at`: seconds after every worker has a request of the load."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: float = Field(default=0.0, ge=0, le=120)


class OnWorker(Action):
    worker: int = Field(default=0, ge=0, le=5)


class Lasting(Action):
    for_s: float | None = Field(default=None, gt=0, le=120)


class Desired(Action):
    """SetDesiredCapacity, as scaling policies and `sglctl scale --desired` do."""

    do: Literal["desired"]
    workers: int = Field(ge=0, le=6)


class Refresh(Action):
    """StartInstanceRefresh on the fleet's group, or the routers'.

    `warm_up_s`: workers' launch hook knows when they serve; of routers nobody tells the group.
    """

    do: Literal["refresh"]
    of: Literal["workers", "routers"] = "workers"
    min_healthy: int = Field(default=100, ge=0, le=100)
    max_healthy: int = Field(default=200, ge=100, le=200)
    warm_up_s: int = Field(default=0, ge=0, le=3600)


class CancelRefresh(Action):
    """CancelInstanceRefresh: what it began to launch still ends."""

    do: Literal["cancel_refresh"]


class Terminate(OnWorker):
    """TerminateInstanceInAutoScalingGroup."""

    do: Literal["terminate"]
    decrement: bool = False


class Notice(OnWorker):
    """What EC2 tells an instance through its metadata. `seconds`: until it happens."""

    do: Literal["spot-notice", "rebalance", "maintenance"]
    seconds: int | None = Field(default=None, ge=0, le=7200)


class Vanish(OnWorker):
    """The host is gone; nobody was told. Its streams end."""

    do: Literal["vanish"]


class Signal(OnWorker, Lasting):
    """A signal to a service of a worker's host, once it runs; STOP is taken back by CONT."""

    do: Literal["signal"]
    service: Literal["agent", "engine"]
    signal: Literal["KILL", "TERM", "STOP"] = "KILL"


class Engine(OnWorker, Lasting):
    """POST /stub/faults (docs/reference/stub-engine.md)."""

    do: Literal["engine"]
    faults: dict[str, Any]


class Aws(Lasting):
    """POST /_sglocal/faults (docs/reference/local.md). `worker`: its metadata service only.

    `here`: launches of the fleet's own instance type only.
    """

    do: Literal["aws"]
    fault: dict[str, Any]
    here: bool = False
    worker: int | None = Field(default=None, ge=0, le=5)


class Partition(OnWorker, Lasting):
    """Packets to and from the worker's engine and agent are dropped."""

    do: Literal["partition"]


class DiskFull(OnWorker, Lasting):
    """The agent's run directory becomes a file system without a free block."""

    do: Literal["disk_full"]


class ClockSkew(OnWorker):
    """The agent's wall clock is wrong by so many seconds (libfaketime); its host reboots for it."""

    do: Literal["clock_skew"]
    seconds: int = Field(ge=-86_400, le=86_400)


class RouterSignal(Action):
    """A signal to a router's process; its host starts one again that was killed."""

    do: Literal["router_signal"]
    router: int = Field(default=0, ge=0, le=1)
    signal: Literal["KILL", "HUP"]


class RestartRouters(Action):
    """Each router is stopped as by `systemctl restart`, and is healthy before the next one is."""

    do: Literal["restart_routers"]


class Parameter(Lasting):
    """The SSM parameter of the fleet's workers or of the routers says `text`, or is changed."""

    do: Literal["parameter"]
    of: Literal["worker", "router"]
    text: str = ""
    change: dict[str, Any] = {}


class Hook(Lasting):
    """PutLifecycleHook: another time limit."""

    do: Literal["hook"]
    name: Literal["launch", "terminate"]
    timeout_s: int = Field(ge=30, le=7200)


class Sglctl(Action):
    """A command, as an operator gives it; `{w0}` is the first worker, `{fleet}` the fleet.

    `exit`: its exit code, `says`: a part of what it prints.
    """

    do: Literal["sglctl"]
    run: str
    exit: int = 0
    says: str = ""


class KillEmulator(Action):
    """AWS is gone: SIGKILL to the emulator. Nothing brings its memory back."""

    do: Literal["kill_emulator"]


class Wait(Action):
    """Until a worker, or the first new one, is in a state, or gone."""

    do: Literal["wait"]
    worker: int | Literal["new"] = 0
    until: Literal["starting", "warming_up", "ready", "draining", "drained", "failed", "gone"]
    within_s: float = Field(default=30.0, gt=0, le=150)


Known = (
    Desired | Refresh | CancelRefresh | Terminate | Notice | Vanish | Signal | Engine | Aws
    | Partition | DiskFull | ClockSkew | RouterSignal | RestartRouters | Parameter | Hook | Sglctl
    | KillEmulator | Wait
)  # fmt: skip
AnyAction = Annotated[Known, Field(discriminator="do")]
