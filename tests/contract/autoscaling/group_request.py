"""From a case's `given` to CreateAutoScalingGroup and PutWarmPool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOOKS = {
    "launch": "autoscaling:EC2_INSTANCE_LAUNCHING",
    "terminate": "autoscaling:EC2_INSTANCE_TERMINATING",
}
KNOWN = {"min", "max", "desired", "zones", "hooks", "warm_pool", "version", "more"}


def group_request(
    name: str, given: Mapping[str, Any], template_id: str, subnets: list[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Both requests; the second None without a warm pool.

    `given`: min, max, desired, zones, hooks (`launch`/`terminate`: timeout and result), warm_pool
    (PutWarmPool's own fields), version (of the template, else the latest), more
    (CreateAutoScalingGroup's own fields).
    """
    assert given.keys() <= KNOWN, f"unknown in given: {given.keys() - KNOWN}"
    version = given.get("version", "$Latest")
    hooks = [
        {
            "LifecycleHookName": kind,
            "LifecycleTransition": HOOKS[kind],
            "HeartbeatTimeout": hook.get("timeout", 3600),
            "DefaultResult": hook.get("result", "ABANDON"),
        }
        for kind, hook in given.get("hooks", {}).items()
    ]
    request: dict[str, Any] = {
        "AutoScalingGroupName": name,
        "MinSize": given.get("min", 0),
        "MaxSize": given.get("max", 4),
        "DesiredCapacity": given.get("desired", 1),
        "VPCZoneIdentifier": ",".join(subnets),
        **given.get("more", {}),
    }
    if "MixedInstancesPolicy" in request:
        specification = {"LaunchTemplateId": template_id, "Version": version}
        policy = dict(request["MixedInstancesPolicy"])
        policy["LaunchTemplate"] = {
            "LaunchTemplateSpecification": specification,
            **policy.get("LaunchTemplate", {}),
        }
        request["MixedInstancesPolicy"] = policy
    else:
        request["LaunchTemplate"] = {"LaunchTemplateId": template_id, "Version": version}
    if hooks:
        request["LifecycleHookSpecificationList"] = hooks
    return request, given.get("warm_pool")
