"""Ask an engine a case's request, and reduce the answer to its shape.

A shape is the answer with each value replaced by the name of its type; lists keep the shapes of
their different elements. Volatile values (ids, times, texts) vanish, fields and types stay.
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
from engine_cases import Case

_HELP = re.compile(r"^# TYPE (sglang:\S+) (\S+)$", re.MULTILINE)
#: Source positions of the real engine's installation in its validation errors.
_POSITION = re.compile(r"\n\n  File \".*", re.DOTALL)


#: Null or not by what the model said, and by who asked before.
_ACCIDENTAL = {"matched_stop", "cached_tokens_details"}


def ask(client: httpx.Client, case: Case) -> dict[str, Any]:
    """`{"status", "content_type", "shape"}`, and `exact` where values must be equal."""
    if case.raw is not None:
        headers = {"content-type": "application/json"}
        response = client.request(case.method, case.path, content=case.raw, headers=headers)
    else:
        response = client.request(case.method, case.path, json=case.body)
    return {"status": response.status_code, **_answer(case, response)}


def _answer(case: Case, response: httpx.Response) -> dict[str, Any]:
    if case.kind == "status":
        return {}
    if case.kind == "text":
        return {"exact": response.text}
    if case.kind == "metrics":
        return {"shape": dict(sorted(_HELP.findall(response.text)))}
    kind = response.headers["content-type"].replace(" ", "")
    if case.kind == "sse":
        return {"content_type": kind, "shape": _events(response.text)}
    document = response.json()
    if case.exact:
        text = json.dumps(document)
        return {"content_type": kind, "exact": json.loads(_without_positions(text))}
    return {"content_type": kind, "shape": shape(_kept(document, case.keep))}


def _kept(document: Any, keep: frozenset[str]) -> Any:
    if not keep or not isinstance(document, dict):
        return document
    kept = {key: value for key, value in document.items() if key in keep}
    states = kept.get("internal_states", [])
    return kept | {"internal_states": [_kept(state, keep) for state in states]} if states else kept


def _without_positions(text: str) -> str:
    document = json.loads(text)
    if isinstance(document.get("message"), str):
        document["message"] = _POSITION.sub("", document["message"])
    return json.dumps(document)


def shape(value: Any) -> Any:
    """The types of a JSON value; integral and broken numbers are both "number"."""
    if isinstance(value, dict):
        return {
            key: "as it happens" if key in _ACCIDENTAL else shape(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        kinds: list[Any] = []
        for item in value:
            if (kind := shape(item)) not in kinds:
                kinds.append(kind)
        return kinds
    if isinstance(value, bool) or value is None:
        return "bool" if value is not None else "null"
    return "number" if isinstance(value, int | float) else "string"


def _events(text: str) -> list[Any]:
    """The stream's events as shapes, equal neighbours once: how many tokens is not compared."""
    found: list[Any] = []
    for block in filter(None, text.split("\n\n")):
        payload = block.strip().removeprefix("data: ")
        kind: Any = "[DONE]" if payload == "[DONE]" else _event(json.loads(payload))
        if not found or found[-1] != kind:
            found.append(kind)
    return found


def _event(document: dict[str, Any]) -> Any:
    kind = shape(document)
    for choice, told in zip(document.get("choices", []), kind.get("choices", []), strict=False):
        told["finish_reason"] = choice["finish_reason"]  # which event carries it is the contract
    return kind


def missing(expected: Any, actual: Any, path: str = "") -> list[str]:
    """Where `actual` has a field or type that `expected` lacks: a part must be a true part."""
    if isinstance(actual, dict) and isinstance(expected, dict):
        problems = [f"{path}.{key}: not a field of SGLang" for key in actual if key not in expected]
        return problems + [
            problem
            for key in actual
            if key in expected
            for problem in missing(expected[key], actual[key], f"{path}.{key}")
        ]
    if isinstance(actual, list) and isinstance(expected, list):
        if not actual or not expected:
            return []
        closest = (
            min((missing(e, item, f"{path}[]") for e in expected), key=len) for item in actual
        )
        return [problem for problems in closest for problem in problems]
    return [] if expected == actual else [f"{path}: SGLang tells {expected}, the stub {actual}"]
