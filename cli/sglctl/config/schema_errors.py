"""pydantic's errors, in words a person can act on: where, what, and the nearest valid key."""

from __future__ import annotations

import difflib
import types
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sglctl.config.finding import Finding, KeyPath
from sglctl.config.yamltext import Parsed

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "date_type": "a date (YYYY-MM-DD)",
    "date_parsing": "a date (YYYY-MM-DD)",
    "date_from_datetime_parsing": "a date (YYYY-MM-DD)",
}


def findings_of(error: ValidationError, model: type[BaseModel], parsed: Parsed) -> list[Finding]:
    """Every error of one document; a key that is only misspelt is not reported missing, too."""
    items = error.errors(include_url=False)
    meant = {
        (*item["loc"][:-1], _closest(str(item["loc"][-1]), model, item["loc"][:-1]))
        for item in items
        if item["type"] == "extra_forbidden"
    }
    # A list whose items are all wrong counts as too short: only the items are worth telling.
    wrong_inside = {item["loc"][:-1] for item in items}
    return [
        _finding(item, model, parsed)
        for item in items
        if not (item["type"] == "missing" and item["loc"] in meant)
        and not (item["type"] == "too_short" and item["loc"] in wrong_inside)
    ]


def _finding(item: ErrorDetails, model: type[BaseModel], parsed: Parsed) -> Finding:
    path: KeyPath = tuple(part for part in item["loc"] if part != "[key]")
    kind, given = item["type"], item["input"]
    if kind == "extra_forbidden":
        return parsed.finding(path, "unknown key", _nearest(str(path[-1]), model, path[:-1]))
    if kind == "missing":
        return parsed.finding(path, "missing", f"add `{path[-1]}:`")
    if "[key]" in item["loc"]:
        return parsed.finding(path, f"{path[-1]!r} is not a valid name", item["msg"])
    if expected := _TYPES.get(kind):
        quote = kind == "string_type" and isinstance(given, int | float)
        return parsed.finding(
            path, f"must be {expected}, not {_shown(given)}", "put it in quotes" if quote else ""
        )
    if kind == "literal_error":
        return parsed.finding(path, f"{_shown(given)} is not one of {item['ctx']['expected']}")
    if kind == "string_pattern_mismatch":
        pattern = item["ctx"]["pattern"]
        return parsed.finding(path, f"{_shown(given)} does not match {pattern}")
    if kind == "too_short":
        return parsed.finding(path, f"needs {item['ctx']['min_length']} or more entries")
    message = item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return parsed.finding(path, f"must be {message}, not {_shown(given)}")


def _shown(value: Any) -> str:
    text = repr(value)
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return text if len(text) <= 60 else text[:57] + "…'"


def _closest(key: str, model: type[BaseModel], parent: KeyPath) -> str | None:
    close = difflib.get_close_matches(key, valid_keys(model, parent), n=1, cutoff=0.5)
    return close[0] if close else None


def _nearest(key: str, model: type[BaseModel], parent: KeyPath) -> str:
    if close := _closest(key, model, parent):
        return f"did you mean '{close}'?"
    valid = valid_keys(model, parent)
    return f"valid keys: {', '.join(valid)}" if valid else ""


def valid_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys a mapping at `path` may have; empty where any may stand."""
    current: Any = model
    for part in path:
        current = _step(current, part)
    found = _model_in(current)
    return sorted(found.model_fields) if found else []


def _step(annotation: Any, part: str | int) -> Any:
    if found := _model_in(annotation):
        known = found.model_fields.get(str(part))
        return known.annotation if known else None
    for option in _options(annotation):
        if get_origin(option) is dict:
            return get_args(option)[1]
        if get_origin(option) is tuple:
            return get_args(option)[0]
    return None


def _options(annotation: Any) -> list[Any]:
    """The alternatives of `X | None`, without `Annotated`."""
    if hasattr(annotation, "__metadata__"):
        return _options(annotation.__origin__)
    if get_origin(annotation) in (Union, types.UnionType):
        return [found for option in get_args(annotation) for found in _options(option)]
    return [annotation]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None
