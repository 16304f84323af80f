"""Installs every extension, in the order in which they build on each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sglocal.aws import (
    alarms,
    answers,
    autoscaling,
    event_bus,
    faults,
    forgetting,
    images,
    instance_events,
    instance_lists,
    instances,
    launch_templates,
    load_balancers,
    metric_data,
    notices,
    run_command,
    security_groups,
    target_health,
    target_metrics,
)
from sglocal.aws.answers import WrittenAnswers
from sglocal.aws.autoscaling import policy_run
from sglocal.aws.autoscaling.groups import Groups
from sglocal.aws.emulator import Emulator
from sglocal.aws.fault_list import FaultList
from sglocal.aws.images import Images
from sglocal.aws.instances import InstanceHosts
from sglocal.aws.notices import Notices
from sglocal.aws.target_health import TargetChecks


@dataclass(frozen=True)
class Extensions:
    """The parts that the daemon connects to its servers."""

    hosts: InstanceHosts
    images: Images
    groups: Groups
    checks: TargetChecks
    notices: Notices
    faults: FaultList
    answers: WrittenAnswers


def install(emulator: Emulator) -> Extensions:
    """Install all of them; `emulator.stop()` takes them out again."""
    written = answers.install(emulator)
    instance_lists.install(emulator)
    launch_templates.install(emulator)
    metric_data.install(emulator)
    load_balancers.install(emulator)
    security_groups.install(emulator)
    event_bus.install(emulator)
    hosts = instances.install(emulator)
    instance_events.install(emulator)
    stored = images.install(emulator, hosts)
    groups = autoscaling.install(emulator)
    forgetting.install(emulator)
    checks = target_health.install(emulator, hosts)
    target_metrics.install(emulator)
    alarms.install(emulator, partial(policy_run.act, emulator))
    run_command.install(emulator, hosts)
    told = notices.install(emulator)
    spoiled = faults.install(emulator)
    return Extensions(hosts, stored, groups, checks, told, spoiled, written)
