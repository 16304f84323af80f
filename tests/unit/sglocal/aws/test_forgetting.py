"""Terminated instances are listed for an hour, the others for as long as they live."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sglocal.aws.forgetting import SHOWN_S, forget


def backend(*states: str) -> Any:
    """As much of moto's EC2 as is looked at: a reservation for each two instances."""
    instances = [SimpleNamespace(id=f"i-{n}", state=state) for n, state in enumerate(states)]
    reservations = {
        f"r-{n}": SimpleNamespace(id=f"r-{n}", instances=instances[n : n + 2])
        for n in range(0, len(instances), 2)
    }
    ids = [instance.id for instance in instances]
    return SimpleNamespace(
        reservations=reservations,
        tags={each: {"Name": each} for each in ids},
        sgl_index=dict(zip(ids, instances, strict=True)),
    )


def listed(ec2: Any) -> list[str]:
    return [i.id for r in ec2.reservations.values() for i in r.instances]


def test_an_hour_after_it_was_seen_terminated_an_instance_is_gone_with_its_traces() -> None:
    ec2 = backend("running", "terminated", "terminated", "terminated")
    seen: dict[str, float] = {}
    forget(ec2, seen, 100.0)
    forget(ec2, seen, 99.0 + SHOWN_S)
    assert listed(ec2) == ["i-0", "i-1", "i-2", "i-3"]
    forget(ec2, seen, 100.0 + SHOWN_S)
    assert listed(ec2) == list(ec2.tags) == list(ec2.sgl_index) == ["i-0"]
    assert list(ec2.reservations) == ["r-0"]
    assert seen == {}


def test_the_hour_begins_at_the_termination() -> None:
    ec2 = backend("running")
    seen: dict[str, float] = {}
    forget(ec2, seen, 0.0)
    ec2.reservations["r-0"].instances[0].state = "terminated"
    forget(ec2, seen, 5000.0)
    forget(ec2, seen, 5000.0 + SHOWN_S - 1)
    assert listed(ec2) == ["i-0"]
