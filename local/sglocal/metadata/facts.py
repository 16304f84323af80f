"""An instance's facts, from moto's state. Hold the emulator's lock."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from sglocal.aws.autoscaling.arriving import pool_state_of
from sglocal.aws.autoscaling.lifecycle import target
from sglocal.aws.autoscaling.records import find_member
from sglocal.aws.emulator import Emulator
from sglocal.aws.host_spec import tags_of, user_data
from sglocal.aws.notices import Notices, ScheduledEvent
from sglocal.metadata.tree import Facts, MaintenanceEvent


def facts_of(emulator: Emulator, notices: Notices, instance: Any) -> Facts:
    """What the instance's metadata says now."""
    told = notices.get(instance.id)
    role, profile = _role(emulator, instance)
    launched = instance.launch_time
    return Facts(
        instance_id=instance.id,
        image_id=instance.image_id,
        instance_type=instance.instance_type,
        address=instance.private_ip,
        hostname=instance.private_dns_name,
        zone=instance.placement.zone,
        region=emulator.settings.region,
        account=emulator.settings.account,
        tags=tags_of(instance),
        user_data=user_data(instance),
        lifecycle=instance.lifecycle or "on-demand",
        target_state=_target_state(instance),
        role=role,
        profile_arn=profile,
        architecture=instance.architecture or "x86_64",
        launched_at=launched.replace(tzinfo=launched.tzinfo or UTC),
        interruption_at=told.interruption.ends_at if told.interruption else None,
        rebalance_at=told.rebalance_at,
        events=(_event(told.event),) if told.event else (),
    )


def _event(event: ScheduledEvent) -> MaintenanceEvent:
    return MaintenanceEvent(event.event_id, event.code, event.not_before, event.not_after)


def _target_state(instance: Any) -> str | None:
    """The state its group moves the instance to; None outside a group.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html
    """
    group = getattr(instance, "autoscaling_group", None)
    if group is None:
        return None
    state = find_member(group, instance.id)
    return target(state.lifecycle_state, pool_state_of(group)) if state else "Detached"


def _role(emulator: Emulator, instance: Any) -> tuple[str | None, str | None]:
    profile = instance.iam_instance_profile
    if not profile:
        return None, None
    iam = emulator.backend("iam")
    for known in iam.instance_profiles.values():
        if known.arn == profile["Arn"] and known.roles:
            return str(known.roles[0].name), str(known.arn)
    return None, str(profile["Arn"])
