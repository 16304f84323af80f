"""Terraform's machine-readable events, typed.

https://developer.hashicorp.com/terraform/internals/machine-readable-ui
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

Phase = Literal["start", "progress", "complete", "errored"]

_PHASES: dict[str, Phase] = {
    "apply_start": "start",
    "apply_progress": "progress",
    "apply_complete": "complete",
    "apply_errored": "errored",
}


@dataclass(frozen=True)
class ResourceEvent:
    """A resource is being changed. `elapsed_s` since its start, whole seconds."""

    phase: Phase
    address: str
    action: str
    elapsed_s: float = 0.0
    identity: str = ""


@dataclass(frozen=True)
class RefreshEvent:
    """A resource was read (`plan`)."""

    address: str
    complete: bool


@dataclass(frozen=True)
class PlannedEvent:
    address: str
    action: str


@dataclass(frozen=True)
class SummaryEvent:
    """`change_summary`: what a plan holds, or what an apply did."""

    add: int
    change: int
    remove: int
    operation: str


@dataclass(frozen=True)
class Diagnostic:
    """An error or warning. `address` is empty where Terraform names no resource."""

    severity: str
    summary: str
    detail: str
    address: str = ""
    place: str = ""


@dataclass(frozen=True)
class TextEvent:
    """Everything else: progress of `init`, versions, lines that are not JSON."""

    kind: str
    message: str
    raw: dict[str, Any] = field(default_factory=dict, compare=False)


Event = ResourceEvent | RefreshEvent | PlannedEvent | SummaryEvent | Diagnostic | TextEvent


def parse_line(line: str) -> Event | None:
    """One line of `-json` output; None for an empty one. A line that is no JSON stays text."""
    text = line.strip()
    if not text:
        return None
    try:
        raw = json.loads(text)
    except json.JSONDecodeError:
        return TextEvent("text", text)
    if not isinstance(raw, dict):
        return TextEvent("text", text)
    return _typed(raw)


def _typed(raw: dict[str, Any]) -> Event:
    kind = str(raw.get("type", ""))
    hook = raw.get("hook") or {}
    if kind in _PHASES:
        return ResourceEvent(
            phase=_PHASES[kind],
            address=_address(hook),
            action=str(hook.get("action", "")),
            elapsed_s=float(hook.get("elapsed_seconds", 0)),
            identity=str(hook.get("id_value", "")),
        )
    if kind in ("refresh_start", "refresh_complete"):
        return RefreshEvent(_address(hook), kind == "refresh_complete")
    if kind == "planned_change":
        change = raw.get("change") or {}
        return PlannedEvent(_address(change), str(change.get("action", "")))
    if kind == "change_summary":
        counts = raw.get("changes") or {}
        return SummaryEvent(
            int(counts.get("add", 0)),
            int(counts.get("change", 0)),
            int(counts.get("remove", 0)),
            str(counts.get("operation", "")),
        )
    if kind == "diagnostic":
        return diagnostic(raw.get("diagnostic") or {})
    return TextEvent(kind, str(raw.get("@message", "")), raw)


def diagnostic(raw: dict[str, Any]) -> Diagnostic:
    """A diagnostic object, as events and `validate -json` hold it."""
    where = raw.get("range") or {}
    line = (where.get("start") or {}).get("line")
    return Diagnostic(
        severity=str(raw.get("severity", "error")),
        summary=str(raw.get("summary", "")),
        detail=str(raw.get("detail", "")),
        address=str(raw.get("address", "")),
        place=f"{where['filename']}:{line}" if where.get("filename") else "",
    )


def _address(holder: dict[str, Any]) -> str:
    return str((holder.get("resource") or {}).get("addr", ""))
