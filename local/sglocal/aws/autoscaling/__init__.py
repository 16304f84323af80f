"""Auto Scaling groups as documented: hooks that hold, warm pools that hold instances."""

from __future__ import annotations

from sglocal.aws.autoscaling import (
    capacity_api,
    group_api,
    instance_api,
    lifecycle_api,
    policy_api,
    refresh_api,
    warm_pool_api,
)
from sglocal.aws.autoscaling.groups import Groups
from sglocal.aws.emulator import Emulator


def install(emulator: Emulator) -> Groups:
    """Replace moto's immediate scaling by a reconciling loop."""
    groups = Groups(emulator)
    capacity_api.install(emulator)
    group_api.install(emulator)
    instance_api.install(emulator)
    lifecycle_api.install(emulator)
    policy_api.install(emulator)
    refresh_api.install(emulator)
    warm_pool_api.install(emulator)
    emulator.every("autoscaling", emulator.timing.reconcile_s, groups.reconcile)
    return groups
