"""Resources that exist although the state does not know them, and the id to import them by.

Terraform's cancel cuts a provider's request short: what AWS made meanwhile is in no state, and
the next apply fails with "already exists". Names of an environment are its own by contract
(docs/reference/interfaces.md), so what bears one was made by an earlier run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sglctl.aws.session import Session

Finder = Callable[[Session, str], str | None]

#: Where a resource of each kind keeps its name.
_NAME_KEYS = {"aws_s3_bucket": "bucket"}


def import_id(
    session: Session, environment: str, kind: str, values: Mapping[str, Any]
) -> str | None:
    """The import id of an existing resource with these planned values.

    None where there is none, where the kind has no name of its own, or the name is not ours.
    """
    finder = _FINDERS.get(kind)
    name = values.get(_NAME_KEYS.get(kind, "name"))
    if finder is None or not isinstance(name, str) or not is_ours(environment, name):
        return None
    return finder(session, name)


def is_ours(environment: str, name: str) -> bool:
    """Whether a name can only be this environment's. Pure."""
    return name.startswith(
        (f"sgl-{environment}-", f"sglctl-models-{environment}-", f"sglctl/{environment}/",
         f"/sglctl/{environment}/")
    )  # fmt: skip


def _launch_template(session: Session, name: str) -> str | None:
    return _first(session, "ec2", "describe_launch_templates", "LaunchTemplates",
                  "LaunchTemplateId", LaunchTemplateNames=[name])  # fmt: skip


def _group(session: Session, name: str) -> str | None:
    return _first(session, "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups",
                  "AutoScalingGroupName", AutoScalingGroupNames=[name])  # fmt: skip


def _load_balancer(session: Session, name: str) -> str | None:
    return _first(session, "elbv2", "describe_load_balancers", "LoadBalancers",
                  "LoadBalancerArn", Names=[name])  # fmt: skip


def _target_group(session: Session, name: str) -> str | None:
    return _first(session, "elbv2", "describe_target_groups", "TargetGroups",
                  "TargetGroupArn", Names=[name])  # fmt: skip


def _log_group(session: Session, name: str) -> str | None:
    answer = _call(session, "logs", "describe_log_groups", logGroupNamePrefix=name)
    found = (answer or {}).get("logGroups", [])
    return name if any(group["logGroupName"] == name for group in found) else None


def _role(session: Session, name: str) -> str | None:
    return name if _call(session, "iam", "get_role", RoleName=name) else None


def _instance_profile(session: Session, name: str) -> str | None:
    found = _call(session, "iam", "get_instance_profile", InstanceProfileName=name)
    return name if found else None


def _secret(session: Session, name: str) -> str | None:
    answer = _call(session, "secretsmanager", "describe_secret", SecretId=name)
    return str(answer["ARN"]) if answer and not answer.get("DeletedDate") else None


def _parameter(session: Session, name: str) -> str | None:
    return name if _call(session, "ssm", "get_parameter", Name=name) else None


def _bucket(session: Session, name: str) -> str | None:
    owner = session.account
    return (
        name
        if _call(session, "s3", "head_bucket", Bucket=name, ExpectedBucketOwner=owner)
        else None
    )


_FINDERS: Mapping[str, Finder] = {
    "aws_autoscaling_group": _group,
    "aws_cloudwatch_log_group": _log_group,
    "aws_iam_instance_profile": _instance_profile,
    "aws_iam_role": _role,
    "aws_launch_template": _launch_template,
    "aws_lb": _load_balancer,
    "aws_lb_target_group": _target_group,
    "aws_s3_bucket": _bucket,
    "aws_secretsmanager_secret": _secret,
    "aws_ssm_parameter": _parameter,
}


def _first(session: Session, service: str, call: str, key: str, field: str,
           **given: Any) -> str | None:  # fmt: skip
    found = (_call(session, service, call, **given) or {}).get(key, [])
    return str(found[0][field]) if found else None


def _call(session: Session, service: str, call: str, **given: Any) -> dict[str, Any] | None:
    """None where AWS says there is no such thing; anything else it says is raised."""
    from botocore.exceptions import ClientError

    try:
        answer: dict[str, Any] = getattr(session.client(service), call)(**given)
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        if code == "404" or "NotFound" in code or "NoSuch" in code:
            return None
        raise
    return answer
