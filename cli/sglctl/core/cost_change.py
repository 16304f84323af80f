"""What a plan changes about the hourly cost: instances of its groups, before and after. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Price = Callable[[str], Decimal | None]

_GROUP = ".aws_autoscaling_group."
_TEMPLATE = ".aws_launch_template."


@dataclass(frozen=True)
class CostChange:
    """USD per hour at the desired capacity; None where a type has no price in the catalogue."""

    before: Decimal | None
    after: Decimal | None

    @property
    def delta(self) -> Decimal | None:
        if self.before is None or self.after is None:
            return None
        return self.after - self.before

    def to_text(self) -> str:
        if self.delta is None:
            return "Cost: unknown (an instance type has no price in config/instances.yaml)"
        return f"Cost: {self.before:.2f} -> {self.after:.2f} USD/hour ({self.delta:+.2f})"

    def to_json(self) -> dict[str, Any]:
        return {
            name: None if value is None else round(float(value), 4)
            for name, value in (
                ("before", self.before), ("after", self.after), ("delta", self.delta)
            )
        }  # fmt: skip


def cost_change(document: Mapping[str, Any], price: Price) -> CostChange:
    """Sum over the Auto Scaling groups of a plan document: workers wanted x price of their type.

    The first instance type of a group counts, and Spot as on-demand: an upper bound.
    """
    types = _template_types(document)
    before: Decimal | None = Decimal(0)
    after: Decimal | None = Decimal(0)
    for raw in document.get("resource_changes", []):
        if raw.get("type") != "aws_autoscaling_group" or raw.get("mode") != "managed":
            continue
        module = raw["address"].split(_GROUP)[0]
        before = _plus(before, _cost(raw["change"].get("before"), types.get(module), price))
        after = _plus(after, _cost(raw["change"].get("after"), types.get(module), price))
    return CostChange(before, after)


def _cost(group: Mapping[str, Any] | None, fallback: str | None, price: Price) -> Decimal | None:
    if not group:
        return Decimal(0)
    low, high = int(group.get("min_size") or 0), int(group.get("max_size") or 0)
    # Terraform keeps the live desired capacity; Auto Scaling moves it into new bounds.
    count = min(max(int(group.get("desired_capacity") or 0), low), high)
    instance_type = _type(group) or fallback
    if count == 0:
        return Decimal(0)
    each = price(instance_type) if instance_type else None
    return None if each is None else each * count


def _type(group: Mapping[str, Any]) -> str | None:
    """The first override of a mixed-instances policy."""
    for policy in group.get("mixed_instances_policy") or []:
        for template in policy.get("launch_template") or []:
            for override in template.get("override") or []:
                if override.get("instance_type"):
                    return str(override["instance_type"])
    return None


def _template_types(document: Mapping[str, Any]) -> dict[str, str]:
    """module address → instance type of its launch template."""
    found: dict[str, str] = {}
    for raw in document.get("resource_changes", []):
        if raw.get("type") == "aws_launch_template":
            values = raw["change"].get("after") or raw["change"].get("before") or {}
            if values.get("instance_type"):
                found[raw["address"].split(_TEMPLATE)[0]] = values["instance_type"]
    return found


def _plus(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other
