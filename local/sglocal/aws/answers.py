"""Answers about a thousand instances in time. What is answered stays moto's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.serialize import (
    DEFAULT_ALIAS_PROVIDERS,
    EC2Serializer,
    QuerySerializer,
    XFormedAttributePicker,
)
from moto.ec2.models.tags import TagBackend
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from sglocal.aws.answer_writers import Text, UnknownShapeError, content_writer
from sglocal.aws.emulator import Emulator

WILDCARDS = "*?\\["
PLACE = "sglocal-answer"


def install(emulator: Emulator) -> WrittenAnswers:
    """Tags of one resource without a walk over all; answers in XML by compiled writers."""
    written = WrittenAnswers()
    emulator.patches.wrap(TagBackend, "describe_tags", _of_one_resource)
    emulator.patches.wrap(QuerySerializer, "_serialize_result", written.wrap)
    return written


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


class WrittenAnswers:
    """Writers by operation. `left_to_moto`: why an operation, `service:Name`, has none."""

    def __init__(self) -> None:
        self.left_to_moto: dict[str, str] = {}
        # With the transformers they were made for: moto's handlers add some while they answer.
        self._writers: dict[str, tuple[dict[str, Any], Text | None]] = {}

    def wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Takes the place of moto's QuerySerializer._serialize_result, of which EC2's is a kind."""

        def serialize_result(serializer: Any, response: Any, result: Any) -> Any:
            write = self._writer(serializer) if _is_usual(serializer) else None
            content = write(result) if write is not None else ""
            if not content:
                return original(serializer, response, result)
            shape = serializer.operation_model.output_shape
            answer = serializer._serialized_result_to_response(response, result, shape, {PLACE: ""})
            before, _, after = answer["body"].partition(f"<{PLACE}/>")
            answer["body"] = f"{before}{content}{after}"
            return answer

        return serialize_result

    def _writer(self, serializer: Any) -> Text | None:
        name = f"{serializer.service_model.service_name}:{serializer.operation_name}"
        changes = serializer._value_picker.response_transformers
        made = self._writers.get(name)
        if made is None or made[0] != changes:
            made = self._writers[name] = dict(changes), self._make(name, serializer)
        return made[1]

    def _make(self, name: str, serializer: Any) -> Text | None:
        try:
            return content_writer(serializer)
        except UnknownShapeError as error:
            self.left_to_moto[name] = str(error)
            return None


def _is_usual(serializer: Any) -> bool:
    """Subclasses (SQS, query as JSON) write otherwise, other pickers find otherwise."""
    picker = serializer._value_picker
    return (
        serializer.operation_model.output_shape is not None
        and type(serializer) in (EC2Serializer, QuerySerializer)
        and type(picker) is XFormedAttributePicker
        and picker.alias_providers is DEFAULT_ALIAS_PROVIDERS
        and not serializer.pretty_print
    )
