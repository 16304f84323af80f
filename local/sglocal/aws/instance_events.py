"""EC2's events of instances that change state.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html
"""

from __future__ import annotations

from typing import Any

from sglocal.aws.emulator import Emulator
from sglocal.aws.event_bus import instance_arn, publish

LOOK_S = 0.5
# What an instance goes through before it is in a state.
_ON_THE_WAY = {"running": "pending", "stopped": "stopping", "terminated": "shutting-down"}


def install(emulator: Emulator) -> None:
    """Look at every instance, and tell what changed."""
    seen: dict[str, str] = {}
    emulator.every("instance-events", LOOK_S, lambda: step(emulator, seen))


def step(emulator: Emulator, seen: dict[str, str]) -> None:
    """Tell the changes since the last look. `seen`: the state of each instance then."""
    with emulator.lock:
        now = {instance.id: str(instance.state) for instance in _instances(emulator)}
        for instance_id, state in now.items():
            for passed in passed_through(seen.get(instance_id), state):
                publish(
                    emulator,
                    "aws.ec2",
                    "EC2 Instance State-change Notification",
                    [instance_arn(emulator, instance_id)],
                    {"instance-id": instance_id, "state": passed},
                )
        seen.clear()
        seen.update(now)


def _instances(emulator: Emulator) -> list[Any]:
    reservations = emulator.ec2.reservations.values()
    return [instance for reservation in reservations for instance in reservation.instances]


def passed_through(before: str | None, after: str) -> list[str]:
    """The states that an instance entered between two looks. `before` None: it was not there."""
    if before == after:
        return []
    way = _ON_THE_WAY.get(after)
    if way is None or way == before:
        return [after]
    if before == "terminated" or (before is None and after != "running"):
        return [after]
    return [way, after]
