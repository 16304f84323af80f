"""Lists of instances: as long as EC2's, and found without a walk over all for each one."""

from __future__ import annotations

import copy
from typing import Any

from moto.ec2.exceptions import InvalidInstanceIdError
from moto.ec2.models.instances import InstanceBackend
from moto.ec2.models.tags import TagBackend
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, filter_reservations, get_prefix

from sglocal.aws.emulator import Emulator

WILDCARDS = "*?\\["
ALL = 1_000_000


def install(emulator: Emulator) -> None:
    """Replace moto's look-ups by ids, and its pages that nobody asked for."""
    wrap = emulator.patches.wrap
    wrap(TagBackend, "describe_tags", _of_one_resource)
    wrap(InstanceBackend, "get_reservations_by_instance_ids", lambda _: _reservations_of)
    wrap(InstanceResponse, "describe_instances", _whole)


def _of_one_resource(original: Any) -> Any:
    """moto matches every tag of the account against a pattern, for each resource it answers."""

    def describe_tags(backend: Any, filters: dict[str, list[str]] | None = None) -> Any:
        wanted = (filters or {}).get("resource-id", [])
        plain = len(wanted) == 1 and not any(sign in wanted[0] for sign in WILDCARDS)
        if not plain or len(filters or {}) != 1:
            return original(backend, filters)
        resource_id = wanted[0]
        kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(resource_id), "")
        return [
            {"resource_id": resource_id, "key": key, "value": value, "resource_type": kind}
            for key, value in backend.tags.get(resource_id, {}).items()
        ]

    return describe_tags


def _reservations_of(backend: Any, instance_ids: list[str], filters: Any = None) -> list[Any]:
    """moto compares every id with every instance, and copies every reservation first.

    Raises InvalidInstanceIdError for the first id that is not there.
    """
    wanted, found = set(instance_ids), set[str]()
    reservations = []
    for reservation in backend.reservations.values():
        instances = [i for i in reservation.instances if i.id in wanted]
        if instances:
            found.update(i.id for i in instances)
            cut = copy.copy(reservation)
            cut.instances = instances
            reservations.append(cut)
    missing = [instance_id for instance_id in instance_ids if instance_id not in found]
    if missing:
        raise InvalidInstanceIdError(missing[0])
    return reservations if filters is None else filter_reservations(reservations, filters)


def _whole(original: Any) -> Any:
    """Without MaxResults EC2 answers all; moto answers a hundred reservations.

    https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-pagination.html
    """

    def describe_instances(response: Any) -> Any:
        if response._get_param("MaxResults") is None:
            response.params["MaxResults"] = ALL
        return original(response)

    return describe_instances
