"""What a plan would do, riskiest first. Pure: from `terraform show -json` of a plan.

https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Risk = Literal["replace", "destroy", "update", "create"]

#: The order they are shown in.
RISKS: tuple[Risk, ...] = ("replace", "destroy", "update", "create")
_ACTIONS: dict[tuple[str, ...], Risk] = {
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("delete",): "destroy",
    ("forget",): "destroy",
    ("update",): "update",
    ("create",): "create",
}


@dataclass(frozen=True)
class Change:
    """One resource. `keys` are the attributes that change (updates, replacements)."""

    risk: Risk
    kind: str
    address: str
    keys: tuple[str, ...] = ()
    #: The attributes that force a replacement.
    forced_by: tuple[str, ...] = ()

    def line(self) -> str:
        if self.forced_by:
            return f"{self.address} (forced by {', '.join(self.forced_by)})"
        return f"{self.address} ({', '.join(self.keys)})" if self.keys else self.address


@dataclass(frozen=True)
class PlanSummary:
    """Every change, riskiest first, then by kind and address; `outputs` that change."""

    changes: tuple[Change, ...]
    outputs: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.changes and not self.outputs

    def count(self, risk: Risk) -> int:
        return sum(change.risk == risk for change in self.changes)

    def headline(self) -> str:
        """`2 to replace, 1 to update, 40 to create`."""
        parts = [f"{self.count(risk)} to {risk}" for risk in RISKS if self.count(risk)]
        if not parts and self.outputs:
            parts = [f"{len(self.outputs)} outputs change"]
        return ", ".join(parts) or "nothing to do"

    def groups(self) -> dict[Risk, dict[str, list[Change]]]:
        """risk → kind → changes, in the order of `changes`."""
        found: dict[Risk, dict[str, list[Change]]] = {}
        for change in self.changes:
            found.setdefault(change.risk, {}).setdefault(change.kind, []).append(change)
        return found

    def to_text(self) -> str:
        lines = [f"Plan: {self.headline()}"]
        for risk, kinds in self.groups().items():
            lines.append(f"{risk}:")
            for kind, changes in kinds.items():
                lines.extend(_of_kind(risk, kind, changes))
        return "\n".join(lines)

    def brief(self) -> str:
        """Kinds and counts only: for a whole environment's end, its 80 addresses say nothing."""
        kinds = Counter(change.kind for change in self.changes)
        return "\n".join(
            [f"Plan: {self.headline()}", *(f"  {kind} x{n}" for kind, n in sorted(kinds.items()))]
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "counts": {risk: self.count(risk) for risk in RISKS},
            "outputs": list(self.outputs),
            "changes": [
                {
                    "risk": change.risk,
                    "kind": change.kind,
                    "address": change.address,
                    "keys": list(change.keys),
                    "forced_by": list(change.forced_by),
                }
                for change in self.changes
            ],
        }


def _of_kind(risk: Risk, kind: str, changes: list[Change]) -> Iterable[str]:
    if risk == "create":  # creating harms nothing: a count is enough
        yield f"  {kind} x{len(changes)}"
        return
    yield f"  {kind}"
    for change in changes:
        yield f"    {change.line()}"


def summarise(document: Mapping[str, Any]) -> PlanSummary:
    """The summary of a plan document; reads of data sources and no-ops are left out."""
    found = [
        change
        for raw in document.get("resource_changes", [])
        if raw.get("mode") == "managed" and (change := _change(raw)) is not None
    ]
    found.sort(key=lambda change: (RISKS.index(change.risk), change.kind, change.address))
    outputs = [
        name
        for name, change in (document.get("output_changes") or {}).items()
        if change.get("actions") != ["no-op"]
    ]
    return PlanSummary(tuple(found), tuple(sorted(outputs)))


def _change(raw: Mapping[str, Any]) -> Change | None:
    change = raw["change"]
    risk = _ACTIONS.get(tuple(change["actions"]))
    if risk is None:
        return None
    keys: tuple[str, ...] = ()
    if risk in ("update", "replace"):
        keys = _changed(change)
    forced = {str(path[0]) for path in change.get("replace_paths") or [] if path}
    return Change(risk, raw["type"], raw["address"], keys, tuple(sorted(forced)))


def _changed(change: Mapping[str, Any]) -> tuple[str, ...]:
    """The attributes that differ; those only known after apply where no other differs (an update
    lists every computed attribute as unknown, which says nothing)."""
    before, after = change.get("before") or {}, change.get("after") or {}
    unknown = change.get("after_unknown") or {}
    known = {
        key
        for key in {*before, *after}
        if _differs(before.get(key), after.get(key), unknown.get(key))
    }
    return tuple(sorted(known or {key for key, value in unknown.items() if value is True}))


def _differs(before: Any, after: Any, unknown: Any) -> bool:
    """Whether the known parts of two values differ; blocks hold unknown attributes deep inside.

    Absent and empty text are one: providers write either for the same thing.
    """
    if unknown is True:
        return False
    if isinstance(before, dict) and isinstance(after, dict):
        within = unknown if isinstance(unknown, dict) else {}
        return any(
            _differs(before.get(key), after.get(key), within.get(key))
            for key in {*before, *after, *within}
        )
    if isinstance(before, list) and isinstance(after, list):
        listed = unknown if isinstance(unknown, list) else []
        if len(before) != len(after):
            return True
        padded = [*listed, *[None] * (len(before) - len(listed))]
        return any(map(_differs, before, after, padded))
    if before in (None, "") and after in (None, ""):
        return False
    return bool(before != after)
