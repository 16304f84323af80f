"""Launch-template versions: user data of every version, and who runs which version.

moto keeps the user data of CreateLaunchTemplateVersion as a plain string and then asserts that it
is not one: every group on version 2 or later answers 500 when it launches.
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html
"""

from __future__ import annotations

from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.models.instances import InstanceBackend
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion

from sglocal.aws.emulator import Emulator


def install(emulator: Emulator) -> None:
    """Parse user data wherever a version is made; SourceVersion copies what is not given anew."""
    emulator.patches.wrap(LaunchTemplate, "create_version", _parse_user_data)
    emulator.patches.wrap(LaunchTemplateVersion, "user_data", lambda _: property(_user_data))
    # moto keeps the tags a template was made with; CreateTags and DeleteTags change them.
    emulator.patches.set(
        LaunchTemplate, "tags", property(lambda self: self.get_tags(), lambda _self, _tags: None)
    )
    emulator.patches.wrap(InstanceBackend, "_get_template_from_args", _string_versions)


def _user_data(version: Any) -> Base64EncodedString | None:
    value = version.data.get("UserData")
    if not value:
        return None
    return value if isinstance(value, Base64EncodedString) else Base64EncodedString(value)


def _parse_user_data(original: Any) -> Any:
    def create_version(self: Any, data: dict[str, Any], description: str) -> Any:
        value = data.get("UserData")
        if value and not isinstance(value, Base64EncodedString):
            data["UserData"] = Base64EncodedString(value)
        _drop_own_tags(data)
        return original(self, data, description)

    return create_version


def _drop_own_tags(data: dict[str, Any]) -> None:
    """Tags of the template itself are no part of its data (moto merges them in)."""
    given = data.get("TagSpecifications")
    if given is None:
        return
    kept = [item for item in given if item.get("ResourceType") != "launch-template"]
    if kept:
        data["TagSpecifications"] = kept
    else:
        del data["TagSpecifications"]


def _string_versions(original: Any) -> Any:
    """An empty Version means the default version, as when it is absent."""

    def get_template(self: Any, arguments: dict[str, Any]) -> Any:
        given = {key: value for key, value in arguments.items() if value not in (None, "")}
        return original(self, given)

    return get_template
