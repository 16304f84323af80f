"""Output shapes and values for them, as hypothesis draws them, and both ways of writing them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore import xform_name
from hypothesis import strategies as st
from moto.core.model import ServiceModel
from moto.core.serialize import (
    EC2Serializer,
    QuerySerializer,
    ResponseSerializer,
    XFormedAttributePicker,
)

from sglocal.aws.answers import WrittenAnswers

SERIALIZERS = {"ec2": EC2Serializer, "query": QuerySerializer}


class Colour(enum.Enum):
    RED = "red"


class Thing:
    """A model's object. Its class and shapes share a name, as moto's often do."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.__dict__.update(attributes)


class Fleet(Thing):
    """Some names are aliases, and what a path leads to."""

    class Meta:
        serialization_aliases = {"Id": "inner.id", "Name": "label"}


TEXTS = st.text(st.characters(codec="utf-8", blacklist_categories=("Cs", "Cc")), max_size=6)
TIMES = st.datetimes(datetime(2001, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.one_of(
        TEXTS, st.sampled_from(["", '<a> & "b"']), st.integers(), st.sampled_from(Colour), st.none()
    ),
    "boolean": st.sampled_from([True, False, "true", "False", "TRUE", 1, None]),
    "integer": st.one_of(st.integers(), st.sampled_from(["7", 7.9, True, None])),
    "long": st.integers(),
    "double": st.one_of(st.floats(allow_nan=False), st.integers(-9, 9)),
    "blob": st.one_of(TEXTS, st.binary(max_size=4)),
    "timestamp": st.one_of(TIMES, TIMES.map(lambda at: at.isoformat()), st.integers(0, 2**31)),
}
# Names that moto finds by an alias: a class's or a shape's, a shape's name, one in its Meta.
KEYS = st.sampled_from(["Id", "Name", "ThingId", "FleetSize", "Tags", "Fleet", "DNSName"])


class Draws:
    """Shapes of one service, and values, drawn together."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self.shapes: dict[str, Any] = {}

    def shape(self, depth: int) -> tuple[str, st.SearchStrategy[Any]]:
        """A new shape's name and what values it takes."""
        kinds = [*VALUES, *["structure", "list"] * 3] if depth else [*VALUES]
        kind = self._draw(st.sampled_from(kinds))
        if kind == "structure":
            return self.structure(depth)
        if kind == "list":
            return self._list(depth)
        traits = {}
        if kind == "timestamp" and self._draw(st.booleans()):
            traits = {"timestampFormat": self._draw(st.sampled_from(["unixTimestamp", "rfc822"]))}
        return self._add({"type": kind, **traits}), VALUES[kind]

    def structure(self, depth: int) -> tuple[str, st.SearchStrategy[Any]]:
        keys = self._draw(st.lists(KEYS, min_size=depth, max_size=5, unique=True))
        found = {key: self.shape(depth - 1) for key in keys}
        members = {key: {"shape": name, **self._renamed(key)} for key, (name, _) in found.items()}
        given = {key: values for key, (_, values) in found.items()}
        values = st.fixed_dictionaries({}, optional=given).flatmap(self._forms)
        return self._add({"type": "structure", "members": members}), values

    @staticmethod
    def _forms(given: dict[str, Any]) -> st.SearchStrategy[Any]:
        snaked = {xform_name(key): value for key, value in given.items()}
        inner = Thing({"id": snaked.pop("id", None)})
        aliased = {**snaked, "inner": inner, "label": snaked.get("name")}
        return st.sampled_from([given, snaked, Thing(given), Thing(snaked), Fleet(aliased)])

    def _list(self, depth: int) -> tuple[str, st.SearchStrategy[Any]]:
        name, values = self.shape(depth - 1)
        flat = {"flattened": True} if self._draw(st.booleans()) else {}
        if self.shapes[name].get("flattened"):
            flat, name, values = {}, *self.structure(1)
        member = {"shape": name, **self._renamed(f"Item{len(self.shapes)}")}
        return self._add({"type": "list", "member": member, **flat}), st.lists(values, max_size=3)

    def _renamed(self, key: str) -> dict[str, str]:
        renamed = key[0].lower() + key[1:]
        return {"locationName": renamed} if self._draw(st.booleans()) else {}

    def _add(self, shape: dict[str, Any]) -> str:
        base = self._draw(st.sampled_from(["Thing", "Fleet", "Tags", "Text"]))
        name = base if base not in self.shapes else f"{base}{len(self.shapes)}"
        self.shapes[name] = shape
        return str(name)


@st.composite
def outputs(draw: Any) -> tuple[str, dict[str, Any], str, Any]:
    """Protocol, shapes, the name of the output's shape, a value for it."""
    draws = Draws(draw)
    name, values = draws.structure(3)
    return draw(st.sampled_from([*SERIALIZERS])), draws.shapes, name, draw(values)


def serializer(
    protocol: str, shapes: dict[str, Any], output: str, changes: dict[str, Any] | None = None
) -> Any:
    """moto's serializer for an operation `Ask` with that output."""
    operation = {"name": "Ask", "http": {}, "output": {"shape": output}}
    if protocol == "query":
        operation["output"] = {"shape": output, "resultWrapper": "AskResult"}
    namespace = {"xmlNamespace": "urn:sglocal"} if protocol == "query" else {}
    metadata = {"protocol": protocol, "endpointPrefix": "asked", "serviceId": "asked", **namespace}
    model = ServiceModel(
        {"metadata": metadata, "operations": {"Ask": operation}, "shapes": shapes}, "asked"
    )
    return SERIALIZERS[protocol](
        operation_model=model.operation_model("Ask"),
        value_picker=XFormedAttributePicker(response_transformers=changes or {}),
    )


def by_moto(made: Any, value: Any) -> Any:
    """moto's own answer."""
    return _outcome(ResponseSerializer._serialize_result, made, value)


def by_writers(answers: WrittenAnswers, made: Any, value: Any) -> Any:
    """Our answer."""
    return _outcome(answers.wrap(ResponseSerializer._serialize_result), made, value)


def _outcome(serialize: Any, made: Any, value: Any) -> Any:
    """The answer, or the error: an alias may find a value of another type."""
    try:
        return serialize(made, made._create_default_response(), value)
    except (ArithmeticError, AttributeError, OSError, TypeError, ValueError) as error:
        return repr(error)
