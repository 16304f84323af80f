"""Constrained output: an instance of a JSON schema, or a text for a regular expression.

Understood schemas: `type` object, array, string, integer, number, boolean, null (or a list of
them), `enum`, `const`, `anyOf`/`oneOf` (the first is taken), `$ref` into the same document,
`properties`, `required`, `additionalProperties`, `items`, `minItems`, `maxItems`, `minLength`,
`maxLength`, `pattern`, `minimum`, `maximum` and their exclusive forms.
Any other keyword that constrains is refused with 400, never ignored.
"""

from __future__ import annotations

import json
import math
from typing import Any

from sglocal.stub_engine.regex_text import UnsupportedError, matching_text
from sglocal.stub_engine.tokens import words

_SILENT = {"title", "description", "default", "examples", "$schema", "$id", "$defs", "definitions",
           "$comment", "deprecated", "readOnly", "writeOnly"}  # fmt: skip
_BY_TYPE = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "boolean": set[str](),
    "null": set[str](),
}
_ALL_KEYWORDS = set[str]().union(*_BY_TYPE.values())
_DEEPEST = 32


def constrained_text(body: dict[str, Any], seed: int) -> str | None:
    """The text a request's constraint asks for, None without one; raises UnsupportedError.

    `body` is an OpenAI request, or the `sampling_params` of /generate.
    """
    if (pattern := body.get("regex")) is not None:
        if not isinstance(pattern, str):
            raise UnsupportedError("regex: expected a string")
        return matching_text(pattern, seed)
    for key in ("ebnf", "structural_tag"):
        if body.get(key) is not None:
            raise UnsupportedError(f"the stub engine cannot follow {key}")
    if (schema := _schema_of(body)) is None:
        return None
    return json.dumps(_Instance(schema, seed).of(schema, 0), ensure_ascii=False)


def _schema_of(body: dict[str, Any]) -> Any:
    if (text := body.get("json_schema")) is not None:
        if not isinstance(text, str):
            return text
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise UnsupportedError(f"json_schema is not JSON: {error}") from error
    wanted = body.get("response_format")
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind == "json_schema" and isinstance(wanted.get("json_schema"), dict):
        return wanted["json_schema"].get("schema")
    raise UnsupportedError(f"the stub engine cannot follow response_format {wanted!r}")


class _Instance:
    def __init__(self, root: Any, seed: int) -> None:
        self._root = root
        self._seed = seed

    def of(self, schema: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            raise UnsupportedError(f"the schema nests deeper than {_DEEPEST}")
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise UnsupportedError(f"not a schema: {schema!r}")
        if "$ref" in schema:
            return self.of(self._resolve(schema["$ref"]), depth + 1)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                _refuse_others(schema, {key})
                return self.of(schema[key][0], depth + 1)
        if "const" in schema:
            _refuse_others(schema, {"const", "type"})
            return schema["const"]
        if "enum" in schema:
            _refuse_others(schema, {"enum", "type"})
            if not schema["enum"]:
                raise UnsupportedError("enum is empty")
            return schema["enum"][self._seed % len(schema["enum"])]
        return self._typed(schema, depth)

    def _resolve(self, reference: Any) -> Any:
        found = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnsupportedError(f"$ref {reference!r} points outside the document")
        for part in filter(None, reference[1:].split("/")):
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise UnsupportedError(f"$ref {reference!r} points at nothing")
            found = found[key]
        return found

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list) and kind:
            kind = kind[0]
        if kind is None:
            kind = "object" if "properties" in schema else None
        if kind not in _BY_TYPE:
            if not set(schema) - _SILENT:
                return {}
            raise UnsupportedError(f"the stub engine cannot follow the schema {schema!r}")
        _refuse_others(schema, _BY_TYPE[kind] | {"type"})
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            count = schema.get("minItems", min(1, schema.get("maxItems", 1)))
            if count > schema.get("maxItems", count):
                raise UnsupportedError("minItems is above maxItems")
            return [self.of(schema.get("items", {}), depth + 1) for _ in range(count)]
        if kind == "string":
            return self._string(schema)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        return self._seed % 2 == 0 if kind == "boolean" else None

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """Every required property, and the optional ones that do not recurse."""
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if missing := [name for name in required if name not in properties]:
            if schema.get("additionalProperties", True) is False:
                raise UnsupportedError(f"{missing[0]!r} is required but not among the properties")
            properties = properties | {name: {} for name in missing}
        names = [n for n in properties if n in required or depth < 2]
        return {name: self.of(properties[name], depth + 1) for name in names}

    def _string(self, schema: dict[str, Any]) -> str:
        low, high = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        if "pattern" in schema:
            text = matching_text(schema["pattern"], self._seed)
            if not low <= len(text) <= high:
                raise UnsupportedError("the stub engine cannot satisfy pattern and length together")
            return text
        if low > high:
            raise UnsupportedError("minLength is above maxLength")
        text = "".join(words(self._seed, 1 + low // 2)).strip().ljust(low, "a")
        return text if len(text) <= high else text[: int(high)]


def _refuse_others(schema: dict[str, Any], known: set[str]) -> None:
    # A keyword of another type says nothing about this one; an unknown one might.
    others = set(schema) - known - _SILENT - (_ALL_KEYWORDS if "type" in schema else set())
    if others:
        raise UnsupportedError(f"the stub engine cannot follow the keyword {min(others)!r}")


def _number(schema: dict[str, Any], *, whole: bool) -> float:
    low = schema.get("minimum", -math.inf)
    high = schema.get("maximum", math.inf)
    above, below = (
        schema.get("exclusiveMinimum", -math.inf),
        schema.get("exclusiveMaximum", math.inf),
    )
    candidates: list[float] = [1, 0, low, high]
    if math.isfinite(above):
        candidates += [math.floor(above) + 1, above + 0.5, above + 1e-6]
    if math.isfinite(below):
        candidates += [math.ceil(below) - 1, below - 0.5, below - 1e-6]
    if whole:
        candidates += [math.ceil(low)] if math.isfinite(low) else []
        candidates = [c for c in candidates if math.isfinite(c) and c == int(c)]
    for value in candidates:
        if math.isfinite(value) and low <= value <= high and above < value < below:
            return int(value) if whole else value
    raise UnsupportedError(f"the stub engine finds no number for {schema!r}")
