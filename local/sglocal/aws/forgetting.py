"""Terminated instances leave the list after an hour, as on EC2.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/how-ec2-instance-termination-works.html
A rehearsal that runs for days would otherwise answer ever longer lists.
"""

from __future__ import annotations

from typing import Any

from sglocal.aws.emulator import Emulator

SHOWN_S = 3600.0
LOOK_S = 5.0


def install(emulator: Emulator) -> None:
    """Look every few seconds."""
    terminated: dict[str, float] = {}

    def look() -> None:
        with emulator.lock:
            forget(emulator.ec2, terminated, emulator.clock())

    emulator.every("forgetting", LOOK_S, look)


def forget(ec2: Any, terminated: dict[str, float], now: float) -> None:
    """Note when each instance was seen terminated; remove those seen so for an hour.

    `terminated`: clock time in seconds by instance id, kept from look to look.
    """
    for reservation in list(ec2.reservations.values()):
        for instance in list(reservation.instances):
            if instance.state != "terminated":
                continue
            if now - terminated.setdefault(instance.id, now) >= SHOWN_S:
                reservation.instances.remove(instance)
                _remove_traces(ec2, instance.id)
                del terminated[instance.id]
        if not reservation.instances:
            ec2.reservations.pop(reservation.id, None)


def _remove_traces(ec2: Any, instance_id: str) -> None:
    getattr(ec2, "sgl_index", {}).pop(instance_id, None)
    ec2.tags.pop(instance_id, None)
