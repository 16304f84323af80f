"""Answers about a thousand instances in time: look-ups that moto repeats for every attribute.

Only how fast they are found changes, not what is found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.serialize import XFormedAttributePicker
from moto.ec2.models.tags import TagBackend
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from sglocal.aws.emulator import Emulator

WILDCARDS = "*?\\["


def install(emulator: Emulator) -> None:
    """Tags of one resource without a walk over all; attribute names worked out once."""
    emulator.patches.wrap(TagBackend, "describe_tags", _of_one_resource)
    emulator.patches.wrap(XFormedAttributePicker, "get_possible_keys", _remembered)


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


def _remembered(original: Callable[..., Any]) -> Callable[..., Any]:
    """The names under which an attribute may be found depend on the class and the shape only."""
    known: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def get_possible_keys(picker: Any, context: Any) -> tuple[str, ...]:
        parent = getattr(context.shape, "parent", None)
        at = (type(context.obj), context.key, context.shape, parent, type(picker))
        if at not in known:
            known[at] = tuple(original(picker, context))
        return known[at]

    return get_possible_keys
