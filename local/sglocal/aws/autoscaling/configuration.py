"""What a group launches from: its own settings, or what an instance refresh brings.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DesiredConfiguration.html
While a refresh with a desired configuration is active, launches follow that one:
https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html#instance-refresh-core-concepts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.autoscaling.exceptions import ValidationError

from sglocal.aws.autoscaling.records import record_of
from sglocal.aws.emulator import Emulator

MOVING_VERSIONS = ("$latest", "$default")


@dataclass(frozen=True)
class Configuration:
    """moto's launch template (None: a launch configuration), the version asked for, the policy."""

    template: Any | None
    version: str
    policy: Mapping[str, Any]

    def resolved(self) -> Any:
        """moto's launch template version that a launch would use now."""
        assert self.template is not None
        return self.template.get_version(self.version)

    def instance_types(self) -> list[str]:
        """The overrides of the policy in their order, else the template's type."""
        overrides = self.policy.get("LaunchTemplate", {}).get("Overrides") or []
        named = [str(o["InstanceType"]) for o in overrides if o.get("InstanceType")]
        return named or [str(self.resolved().instance_type)]

    def distribution(self) -> Mapping[str, Any]:
        """The policy's InstancesDistribution; empty without one."""
        given: Mapping[str, Any] = self.policy.get("InstancesDistribution") or {}
        return given

    def fixed(self) -> bool:
        """Whether a rollback can return to it: a numbered version with an image of its own.

        https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-rollback.html
        """
        if self.template is None or self.version.lower() in MOVING_VERSIONS:
            return False
        return not str(self.resolved().image_id).startswith("resolve:ssm:")

    def fits(self, state: Any) -> bool:
        """Whether a member of the group was launched from this template, version and types."""
        launched = state.sgl.template
        if self.template is None or launched is None:
            return False
        same = (launched["LaunchTemplateId"], state.sgl.template_version)
        if same != (self.template.id, self.resolved().number):
            return False
        return str(state.instance.instance_type) in self.instance_types()


def own(group: Any) -> Configuration:
    """The group's settings."""
    policy = group.mixed_instances_policy or {}
    if group.ec2_launch_template is None:
        return Configuration(None, "", policy)
    return Configuration(group.ec2_launch_template, str(group.launch_template_version), policy)


def in_force(group: Any) -> Configuration:
    """What launches follow now."""
    refresh = record_of(group).refresh
    brought: Configuration | None = refresh.brings() if refresh is not None else None
    return brought or own(group)


def instance_types(group: Any) -> list[str]:
    """The types of what launches follow now, in the order of wish."""
    current = in_force(group)
    return [str(group.instance_type)] if current.template is None else current.instance_types()


def parse(emulator: Emulator, group: Any, given: Mapping[str, Any]) -> Configuration:
    """DesiredConfiguration. Raises ValidationError, and EC2's errors for an unknown template."""
    template, policy = given.get("LaunchTemplate"), given.get("MixedInstancesPolicy")
    if bool(template) == bool(policy):
        raise ValidationError(
            "The desired configuration must specify either a LaunchTemplate or a "
            "MixedInstancesPolicy."
        )
    if template:
        return _found(emulator, template, {})
    assert policy is not None
    distribution = policy.get("InstancesDistribution") or own(group).distribution()
    declared = {**policy, "InstancesDistribution": dict(distribution)}
    specification = policy.get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
    if not specification:
        raise ValidationError("The mixed instances policy must name a launch template.")
    return _found(emulator, specification, declared)


def _found(
    emulator: Emulator, named: Mapping[str, Any], policy: Mapping[str, Any]
) -> Configuration:
    by_id, by_name = named.get("LaunchTemplateId"), named.get("LaunchTemplateName")
    if bool(by_id) == bool(by_name):
        raise ValidationError(
            "Valid requests must contain either launchTemplateId or LaunchTemplateName"
        )
    ec2 = emulator.ec2
    found = ec2.get_launch_template(by_id) if by_id else ec2.get_launch_template_by_name(by_name)
    configuration = Configuration(found, str(named.get("Version") or "$Default"), policy)
    configuration.resolved()  # an unknown version is refused now, not at the first launch
    return configuration


def adopt(group: Any, wanted: Configuration) -> None:
    """Make it the group's settings."""
    assert wanted.template is not None
    specification = {"LaunchTemplateId": wanted.template.id, "Version": wanted.version}
    if not wanted.policy:
        group.mixed_instances_policy = None
        group._set_launch_configuration(None, specification, None)
        return
    launch = {**wanted.policy.get("LaunchTemplate", {})}
    launch["LaunchTemplateSpecification"] = specification
    group.mixed_instances_policy = {**wanted.policy, "LaunchTemplate": launch}
    group._set_launch_configuration(None, None, group.mixed_instances_policy)
