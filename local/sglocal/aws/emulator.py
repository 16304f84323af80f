"""The emulator: moto's state, our extensions of it, and the hosts behind it.

moto's models are plain Python objects without locks.
Every read or change of them happens under `Emulator.lock`; calls to the host driver, which may
take seconds, never do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sglocal.aws.jobs import HostJobs, Jobs, Loop
from sglocal.aws.patches import Patches
from sglocal.clock import Clock, SystemClock
from sglocal.hosts.driver import HostDriver


@dataclass(frozen=True)
class Settings:
    """What `sglocal up` was asked for."""

    account: str
    region: str
    state_dir: Path
    cache_dir: Path
    hosts: Literal["containers", "processes"]
    port: int


@dataclass(frozen=True)
class Timing:
    """How often the emulator looks, in seconds."""

    reconcile_s: float = 0.5
    host_watch_s: float = 2.0
    health_s: float = 0.5
    balancer_s: float = 0.5


def configure_moto(account: str) -> None:
    """Set what moto reads from the environment; must run before moto is imported."""
    os.environ["MOTO_ACCOUNT_ID"] = account
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")


class Emulator:
    """Holds what the extensions share. Build it, `install` them, then `start`."""

    def __init__(
        self,
        settings: Settings,
        driver: HostDriver,
        *,
        timing: Timing | None = None,
        clock: Clock | None = None,
        jobs: Jobs | None = None,
    ) -> None:
        self.settings = settings
        self.driver = driver
        self.timing = timing or Timing()
        self.clock: Clock = clock or SystemClock()
        self.lock = threading.RLock()
        self.patches = Patches()
        self.jobs: Jobs = jobs or HostJobs()
        self._loops: list[Loop] = []
        # Addresses that hosts are told (AWS_ENDPOINT_URL); the server sets them when it listens.
        self.host_endpoint = f"http://127.0.0.1:{settings.port}"
        # How many streams the load balancer still has open to an instance; set by the balancer.
        self.open_sessions: Callable[[str], int] = lambda _instance_id: 0

    def backend(self, service: str) -> Any:
        """moto's state of one service in the emulated account and region."""
        from moto.backends import get_backend

        find: Any = get_backend  # its overloads name every service as a literal
        region = "aws" if service == "iam" else self.settings.region
        return find(service)[self.settings.account][region]

    @property
    def ec2(self) -> Any:
        """moto's EC2 backend."""
        return self.backend("ec2")

    @property
    def autoscaling(self) -> Any:
        """moto's Auto Scaling backend."""
        return self.backend("autoscaling")

    @property
    def elbv2(self) -> Any:
        """moto's load-balancer backend."""
        return self.backend("elbv2")

    def instance(self, instance_id: str) -> Any | None:
        """The moto instance, or None."""
        return self.ec2.get_instance_by_id(instance_id)

    def every(self, name: str, interval_s: float, step: Callable[[], None]) -> Loop:
        """Add a loop that `start` starts."""
        loop = Loop(name, interval_s, step)
        self._loops.append(loop)
        return loop

    def start(self) -> None:
        """Start the loops."""
        for loop in self._loops:
            loop.start()

    def step(self) -> None:
        """Every loop once, in the order of their making, in this thread: for a virtual clock."""
        for loop in self._loops:
            loop.step()

    def wake(self) -> None:
        """Something changed: let every loop look now."""
        for loop in self._loops:
            loop.wake()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop loops and jobs, put moto back as it was. Hosts are the driver's to close."""
        deadline = self.clock() + timeout_s
        for loop in self._loops:
            loop.stop(max(0.1, deadline - self.clock()))
        self.jobs.close(max(0.1, deadline - self.clock()))
        self.patches.undo()
