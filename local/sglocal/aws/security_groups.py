"""Descriptions of security group rules that name another group; moto answers those of CIDRs only.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_SecurityGroupRule.html
Without them Terraform plans an update for ever.
"""

from __future__ import annotations

from typing import Any

from moto.ec2.models.security_groups import SecurityGroupRule

from sglocal.aws.emulator import Emulator


def install(emulator: Emulator) -> None:
    """Answer the description wherever the rule keeps it."""
    emulator.patches.wrap(SecurityGroupRule, "description", lambda _: property(_description))


def _description(rule: Any) -> str | None:
    # ModifySecurityGroupRules writes into ip_range, whatever the rule's source.
    said = rule.ip_range.get("Description") or rule.source_group.get("Description")
    return None if said is None else str(said)
