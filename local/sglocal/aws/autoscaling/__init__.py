"""Auto Scaling groups that keep their desired capacity, with hooks that hold."""

from __future__ import annotations

from sglocal.aws.autoscaling import api, group_api, lifecycle_api
from sglocal.aws.autoscaling.groups import Groups
from sglocal.aws.emulator import Emulator
from sglocal.aws.instances import InstanceHosts


def install(emulator: Emulator, hosts: InstanceHosts) -> Groups:
    """Replace moto's immediate scaling by a reconciling loop."""
    groups = Groups(emulator, hosts)
    api.install(emulator, groups)
    group_api.install(emulator, groups)
    lifecycle_api.install(emulator, groups)
    emulator.every("autoscaling", emulator.timing.reconcile_s, groups.reconcile)
    return groups
