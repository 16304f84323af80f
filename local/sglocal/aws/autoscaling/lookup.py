"""Finding what a call names; the errors are AWS's."""

from __future__ import annotations

from typing import Any

from moto.autoscaling.exceptions import ValidationError

from sglocal.aws.autoscaling.records import all_members


def find_group(backend: Any, name: str) -> Any:
    """The group. Raises ValidationError as AWS words it."""
    if name not in backend.autoscaling_groups:
        raise ValidationError(f"AutoScalingGroup name not found - null: {name}")
    return backend.autoscaling_groups[name]


def find_instance(backend: Any, instance_id: str) -> tuple[Any, Any]:
    """The group and the member, warm ones included. Raises ValidationError."""
    for group in backend.autoscaling_groups.values():
        for state in all_members(group):
            if state.instance.id == instance_id:
                return group, state
    raise ValidationError(f"Instance Id not found - No managed instance found: {instance_id}")


def find_members(group: Any, instance_ids: list[str]) -> list[Any]:
    """Members of the group itself. Raises ValidationError for one that is not."""
    known = {state.instance.id: state for state in group.instance_states}
    for instance_id in instance_ids:
        if instance_id not in known:
            raise ValidationError(
                f"The instance {instance_id} is not part of Auto Scaling group {group.name}."
            )
    return [known[instance_id] for instance_id in instance_ids]
