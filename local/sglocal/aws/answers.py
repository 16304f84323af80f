"""Answers about a thousand instances in time: look-ups that moto repeats for every attribute.

Only how fast they are found changes, not what is found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.constants import MISSING
from moto.core.serialize import (
    AttributePickerContext,
    ResponseSerializer,
    XFormedAttributePicker,
)
from moto.core.utils import get_value as get_moto_value
from moto.ec2.models.tags import TagBackend
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from sglocal.aws.emulator import Emulator

WILDCARDS = "*?\\["


def install(emulator: Emulator) -> None:
    """Tags of one resource without a walk over all; attribute names worked out once."""
    emulator.patches.wrap(TagBackend, "describe_tags", _of_one_resource)
    emulator.patches.wrap(ResponseSerializer, "get_value", _remembered)


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
    """How an attribute is found depends on the class and the shape, and is worked out once."""
    finders: dict[tuple[Any, ...], Callable[[Any], Any]] = {}

    def get_value(serializer: Any, value: Any, key: str, shape: Any) -> Any:
        picker = serializer._value_picker
        if type(picker) is not XFormedAttributePicker or "." in key:
            return original(serializer, value, key, shape)
        at = (type(value), key, shape, getattr(shape, "parent", None))
        find = finders.get(at)
        if find is None:
            context = AttributePickerContext(value, key, shape, serializer.operation_model)
            find = finders[at] = _finder(type(value), tuple(picker.get_possible_keys(context)))
        found = find(value)
        if not _may_transform(picker, key):
            return found
        path = ".".join((*serializer.path, key))
        transforms = picker.response_transformers.items()
        change = next((change for end, change in transforms if path.endswith(end)), None)
        return found if change is None else change(found)

    return get_value


def _finder(kind: type, names: tuple[str, ...]) -> Callable[[Any], Any]:
    """What moto's picker does: the first name that is there, None without one."""
    plain = not hasattr(kind, "__getitem__") and not any("." in name for name in names)
    get: Callable[..., Any] = getattr if plain else get_moto_value

    def find(value: Any) -> Any:
        for name in names:
            found = get(value, name, MISSING)
            if found is not MISSING:
                return found
        return None

    return find


def _may_transform(picker: Any, key: str) -> bool:
    """Whether a transform of this answer ends in the key; worked out once for each answer."""
    if not picker.response_transformers:
        return False
    if not hasattr(picker, "sgl_ends"):
        paths = picker.response_transformers
        picker.sgl_ends = {path.rpartition(".")[2] for path in paths if "." in path}
        picker.sgl_loose = tuple(path for path in paths if "." not in path)
    return key in picker.sgl_ends or key.endswith(picker.sgl_loose)
