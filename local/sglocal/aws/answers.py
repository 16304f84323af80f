"""Answers in XML, about a thousand instances in time. What is answered stays moto's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.serialize import (
    DEFAULT_ALIAS_PROVIDERS,
    EC2Serializer,
    QuerySerializer,
    XFormedAttributePicker,
)

from sglocal.aws.answer_writers import Text, UnknownShapeError, content_writer
from sglocal.aws.emulator import Emulator

PLACE = "sglocal-answer"


def install(emulator: Emulator) -> WrittenAnswers:
    """Write answers of the query and the EC2 protocol by compiled writers."""
    written = WrittenAnswers()
    emulator.patches.wrap(QuerySerializer, "_serialize_result", written.wrap)
    return written


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
