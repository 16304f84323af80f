"""Functions that write answers as XML, made once for each operation's output shape.

moto walks the shape for every answer, asks six alias providers for the name of every attribute,
builds a tree of dictionaries and hands it to xmltodict. Here shape, names and tags are worked out
once, and values go straight into text: the same text, byte for byte (tests compare both).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from xml.sax.saxutils import escape

from moto.core.constants import MISSING
from moto.core.serialize import AttributePickerContext
from moto.core.utils import get_value as get_moto_value

Text = Callable[[Any], str]
Change = Callable[[Any], Any]
# Names under which an attribute may be found, moto's change of it, what writes it.
Step = tuple[tuple[str, ...], Change | None, Text]
Members = dict[str, tuple[Any, Change | None, Text]]


class UnknownShapeError(Exception):
    """A shape that is written otherwise than here; moto has to answer."""


def content_writer(serializer: Any) -> Text:
    """What writes the members of an operation's output, without an element around them.

    `serializer`: moto's, of the query or the EC2 protocol, with an XFormedAttributePicker.
    Raises UnknownShapeError for outputs with maps, attributes, namespaces or recursion.
    """
    shape = serializer.operation_model.output_shape
    return _Maker(serializer).content(shape, (serializer.operation_name, shape.name), ())


class _Maker:
    """Walks a shape. `path`: moto's, to which its transformers refer; `inside`: shapes' names."""

    def __init__(self, serializer: Any) -> None:
        self._serializer = serializer
        self._scalars: dict[str, Text] = {
            "string": lambda value: escape(str(value)),
            "boolean": _boolean,
            "integer": lambda value: str(int(value)),
            "long": lambda value: str(int(value)),
            "float": lambda value: str(float(value)),
            "double": lambda value: str(float(value)),
            "blob": lambda value: str(serializer._base64(value)),
        }

    def content(self, shape: Any, path: tuple[str, ...], inside: tuple[str, ...]) -> Text:
        """A structure's members, one after the other; none of a None."""
        if shape.name in inside:
            raise UnknownShapeError(f"{shape.name} holds itself")
        members: Members = {}
        tags = set()
        changes = self._serializer._value_picker.response_transformers
        for key, member in shape.members.items():
            member.parent = shape  # as moto does: ShapePrefixAlias reads it
            name = _tag_of(member, key)
            tags.add(_item_tag(member, name) if _is_flat(member) else name)
            at = (*path, key)
            write_member = self._element(member, name, at, (*inside, shape.name))
            members[key] = member, _change_at(at, changes), write_member
        if len(tags) < len(members):
            raise UnknownShapeError(f"{shape.name} has two members of one name")
        plans: dict[type, tuple[Callable[..., Any], list[Step]]] = {}

        def write(value: Any) -> str:
            if value is None:
                return ""
            kind = type(value)
            if kind not in plans:
                plans[kind] = self._plan(value, members)
            return _members(value, *plans[kind])

        return write

    def _plan(self, value: Any, members: Members) -> tuple[Callable[..., Any], list[Step]]:
        """How members are found in values of this one's class."""
        picker, operation = self._serializer._value_picker, self._serializer.operation_model
        steps: list[Step] = []
        for key, (shape, change, write) in members.items():
            context = AttributePickerContext(value, key, shape, operation)
            names = tuple(dict.fromkeys(picker.get_possible_keys(context)))
            steps.append((names, change, write))
        return _getter(type(value), [name for names, _, _ in steps for name in names]), steps

    def _element(
        self, shape: Any, tag: str, path: tuple[str, ...], inside: tuple[str, ...]
    ) -> Text:
        if shape.type_name == "list":
            return self._list(shape, tag, path, inside)
        if shape.type_name == "structure":
            return _wrapped(tag, self.content(shape, path, inside))
        if shape.type_name == "timestamp":
            return _wrapped(tag, self._timestamp(shape))
        if shape.type_name not in self._scalars:
            raise UnknownShapeError(f"{shape.name} is a {shape.type_name}")
        return _wrapped(tag, self._scalars[shape.type_name])

    def _list(self, shape: Any, tag: str, path: tuple[str, ...], inside: tuple[str, ...]) -> Text:
        """moto drops items that are structures without members."""
        member, item_tag = shape.member, _item_tag(shape, tag)
        if _is_flat(member):
            raise UnknownShapeError(f"{shape.name} holds flattened lists")
        at = (*path, member.name)
        item = self._element(member, item_tag, at, inside)
        if member.type_name == "structure":
            item = _unless_empty(item, f"<{item_tag}/>")

        def items(values: Any) -> str:
            return "".join([item(value) for value in values])

        return items if _is_flat(shape) else _wrapped(tag, items)

    def _timestamp(self, shape: Any) -> Text:
        timestamps = self._serializer._timestamp_serializer
        form = shape.serialization.get("timestampFormat", timestamps.default_format)
        return lambda value: str(timestamps._convert_timestamp_to_str(value, form))


def _members(value: Any, get: Callable[..., Any], steps: Sequence[Step]) -> str:
    parts = []
    for names, change, write in steps:
        found = None
        for name in names:
            candidate = get(value, name, MISSING)
            if candidate is not MISSING:
                found = candidate
                break
        if change is not None:
            found = change(found)
        if found is not None:
            parts.append(write(found))
    return "".join(parts)


def _getter(kind: type, names: Sequence[str]) -> Callable[..., Any]:
    """moto's get_value, or what does the same for this class in less time."""
    if any("." in name for name in names):
        return get_moto_value  # paths through several objects
    if kind is dict:
        return dict.get
    return get_moto_value if hasattr(kind, "__getitem__") else getattr


def _change_at(path: tuple[str, ...], changes: dict[str, Change]) -> Change | None:
    """The transformer whose path ends this one, moto's first."""
    whole = ".".join(path)
    return next((change for end, change in changes.items() if whole.endswith(end)), None)


def _wrapped(tag: str, content: Text) -> Text:
    begin, end, empty = f"<{tag}>", f"</{tag}>", f"<{tag}/>"

    def write(value: Any) -> str:
        inner = content(value)
        return f"{begin}{inner}{end}" if inner else empty

    return write


def _unless_empty(write: Text, empty: str) -> Text:
    def write_or_drop(value: Any) -> str:
        text = write(value)
        return "" if text == empty else text

    return write_or_drop


def _boolean(value: Any) -> str:
    return "true" if value is True or str(value).lower() == "true" else "false"


def _is_flat(shape: Any) -> bool:
    return shape.type_name == "list" and bool(shape.is_flattened)


def _tag_of(shape: Any, otherwise: str) -> str:
    """Raises UnknownShapeError for what is written as an attribute or with a namespace."""
    for trait in ("xmlNamespace", "xmlAttribute"):
        if shape.serialization.get(trait):
            raise UnknownShapeError(f"{shape.name} has {trait}")
    return str(shape.serialization.get("name", otherwise))


def _item_tag(shape: Any, tag: str) -> str:
    """The element of a list's items; `tag`: the list's own."""
    return _tag_of(shape.member, tag if shape.is_flattened else "member")
