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
    Silent("all", "EventBridge events of services but EC2 and Auto Scaling", "none are sent"),
    Silent("autoscaling", "instance refresh by replacing root volumes", "refused"),
    Silent("autoscaling", "wording of an instance refresh's status reasons", "partly ours"),
    Silent("autoscaling", "predictive scaling", "stored and described, never executed"),
    Silent("autoscaling", "predefined metrics of target tracking", "watched; nothing reports them"),
    Silent(
        "autoscaling",
        "how target tracking scales in, and begins from nothing",
        "at once to the size that follows from the metric; to one instance",
    ),
    Silent("autoscaling", "scheduled actions", "stored and described, never executed"),
    Silent("autoscaling", "notifications by SNS, hooks' own targets", "none are sent"),
    Silent("autoscaling", "WeightedCapacity of overrides", "every instance counts as one"),
    Silent(
        "autoscaling",
        "allocation strategies by price or capacity",
        "the order of the types, the emptiest zone",
    ),
    Silent("autoscaling", "MaxInstanceLifetime", "stored, without effect"),
    Silent(
        "autoscaling",
        "InstanceMaintenancePolicy, DefaultInstanceWarmup",
        "instance refresh follows them; replacing unhealthy instances does not",
    ),
    Silent("autoscaling", "custom termination policies (Lambda)", "stored, passed over"),
    Silent("autoscaling", "a random choice of the termination policy", "the oldest instance"),
    Silent("autoscaling", "scale-in may choose any instance", "those that do not serve yet first"),
    Silent("autoscaling", "Hibernated warm pools", "the instance is stopped, its memory is lost"),
    Silent("autoscaling", "EBS volume checks of stopped warm instances", "always healthy"),
    Silent("autoscaling", "administrative suspension", "failed launches go on, 60 s apart"),
    Silent("autoscaling", "activities are kept for six weeks", "the last 400 of a group"),
    Silent("cloudwatch", "data points are kept for months", "the last 20,000 of all metrics"),
    Silent(
        "cloudwatch",
        "alarms on percentiles, statistic sets, anomalies, other alarms",
        "only SetAlarmState changes their state",
    ),
    Silent(
        "cloudwatch",
        "functions of metric math",
        "arithmetic, comparisons, AVG, MAX, MIN, SUM, ABS, CEIL, FLOOR, FILL, IF",
    ),
    Silent("cloudwatch", "alarms notify", "of an alarm's actions only scaling policies are done"),
    Silent("events", "targets but SQS queues; other buses, schedules", "stored, passed over"),
    Silent("ec2", "scheduled events in DescribeInstanceStatus", "in instance metadata only"),
    Silent("ec2", "capacity and quotas", "every launch is granted, but for faults asked for"),
    Silent("ec2", "security groups and routes", "stored; every host reaches every other"),
    Silent("ec2", "image ids are checked", "with containers only; process hosts run any image"),
    Silent("ec2", "volumes' IOPS and throughput", "stored; the speed is this machine's"),
    Silent("ec2", "CreateImage without a restart", "the host is stopped, copied and started"),
    Silent("ec2", "minutes for an orderly shutdown", "5 s at a stop, 60 s at a termination"),
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
