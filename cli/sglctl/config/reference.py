"""JSON Schema of the files in config/, and the reference page, both from the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from sglctl.config.catalogue import InstanceCatalogue, ModelEntry
from sglctl.config.environment import Environment
from sglctl.config.loader import VARIABLES
from sglctl.config.release import Release

KINDS: dict[str, tuple[type[BaseModel], str]] = {
    "environment": (Environment, "config/environments/<environment>.yaml"),
    "model": (ModelEntry, "config/models/<model>.yaml"),
    "release": (Release, "config/releases/<release>.yaml"),
    "instances": (InstanceCatalogue, "config/instances.yaml"),
}

_HEAD = """# Files of `config/`

Made from the models in `cli/sglctl/config` with
`sglctl config schema --format markdown > docs/reference/config.md`; a test compares them.

The files are read strictly: an unknown key, a wrong type, a duplicate key or an anchor is an error
with file, line and key, and `sglctl validate` prints all errors at once.
The name of a file is the name of what it describes.

A flag wins over an environment variable, that over the file, and the file over the default:

| Variable | Key of the environment file |
|---|---|
"""


def json_schema(kind: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one kind of file."""
    model, title = KINDS[kind]
    schema = model.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


def markdown() -> str:
    """docs/reference/config.md."""
    text = _HEAD + "".join(f"| `{name}` | `{key}` |\n" for name, key in VARIABLES.items())
    for kind, (_, title) in KINDS.items():
        schema = json_schema(kind)
        text += f"\n## `{title}`\n\n" + _table(schema)
        for name, part in schema.get("$defs", {}).items():
            text += f"\n### {name}\n\n{_sentence(part)}" + _table(part)
    return text


def _sentence(schema: dict[str, Any]) -> str:
    words = " ".join(schema.get("description", "").split())
    return f"{words}\n\n" if words else ""


def _table(schema: dict[str, Any]) -> str:
    return "| Key | Value | Default | Meaning |\n|---|---|---|---|\n" + "".join(_rows(schema))


def _rows(schema: dict[str, Any]) -> Iterator[str]:
    required = schema.get("required", [])
    for key, part in schema.get("properties", {}).items():
        default = "required" if key in required else _default(part.get("default"))
        # pydantic leaves a description out that is the model's own first line.
        meaning = part.get("description") or f"See {_kind(part)}."
        yield f"| `{key}` | {_kind(part)} | {default} | {meaning} |\n"


def _default(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, dict):
        return "its defaults" if value else "empty"
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value) or "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(part: dict[str, Any]) -> str:
    if "$ref" in part:
        return str(part["$ref"]).rsplit("/", 1)[1]
    if options := part.get("anyOf") or part.get("allOf"):
        return " or ".join(_kind(option) for option in options)
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    kind = part.get("type", "any")
    if kind == "array":
        return f"list of {_kind(part.get('items', {}))}"
    if kind == "object":
        by_pattern: dict[str, Any] = part.get("patternProperties", {})
        values: Any = part.get("additionalProperties") or next(iter(by_pattern.values()), {})
        return f"mapping of {_kind(values)}" if isinstance(values, dict) else "mapping"
    return _bounded(kind, part)


def _bounded(kind: str, part: dict[str, Any]) -> str:
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    text = words.get(kind, kind)
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {part[name]:g}" for name, sign in signs.items() if name in part]
    return f"{text} {', '.join(bounds)}" if bounds else text
