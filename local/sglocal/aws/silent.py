"""What the emulator does not simulate, as data: docs/reference/local.md is held against it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Silent:
    """A behaviour of AWS that is absent here, and what happens instead."""

    service: str
    behaviour: str
    here: str


SILENT: tuple[Silent, ...] = (
    Silent("all", "state survives a restart", "memory only; images in the cache are kept"),
    Silent("all", "several regions", "hosts, groups and load balancers in the region of `up` only"),
    Silent("all", "IAM permissions are enforced", "every call is allowed"),
    Silent("all", "EventBridge and SNS notifications of other services", "none are sent"),
    Silent("autoscaling", "warm pools hold instances", "described as declared, 0 instances"),
    Silent("autoscaling", "instance refresh", "the calls are refused as not simulated"),
    Silent("autoscaling", "scaling policies act on alarms", "stored and described, never executed"),
    Silent("autoscaling", "WeightedCapacity of overrides", "every instance counts as one"),
    Silent("autoscaling", "allocation strategies", "the first instance type, the emptiest zone"),
    Silent("autoscaling", "MaxInstanceLifetime, capacity rebalancing", "stored, without effect"),
    Silent(
        "autoscaling", "default termination policy's billing hour", "the oldest instance instead"
    ),
    Silent("cloudwatch", "alarms are evaluated", "stored, their state never changes"),
    Silent("ec2", "capacity and quotas", "every launch is granted"),
    Silent("ec2", "security groups and routes", "stored; every host reaches every other"),
    Silent("ec2", "image ids are checked", "with containers only; process hosts run any image"),
    Silent("ec2", "volumes' IOPS and throughput", "stored; the speed is this machine's"),
    Silent("ec2", "CreateImage without a restart", "the host is stopped, copied and started"),
    Silent("elasticloadbalancing", "network and gateway load balancers", "stored, not served"),
    Silent("elasticloadbalancing", "rules on headers, queries, methods", "not served"),
    Silent("elasticloadbalancing", "health of instances without a host", "always healthy"),
    Silent("ssm", "documents other than AWS-RunShellScript", "refused as InvalidDocument"),
    Silent("ssm", "Session Manager", "refused as not simulated"),
)


def table() -> str:
    """The list as the Markdown table of docs/reference/local.md."""
    lines = ["| Service | On AWS | Here |", "|---|---|---|"]
    lines += [f"| {s.service} | {s.behaviour} | {s.here} |" for s in SILENT]
    return "\n".join(lines) + "\n"
