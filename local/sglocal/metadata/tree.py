"""The metadata tree of one instance: pure, from facts to paths.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

# How long the credentials of a role say they are valid; the emulator checks nothing.
CREDENTIALS_VALID = timedelta(hours=6)


@dataclass(frozen=True)
class MaintenanceEvent:
    """A scheduled event.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_scheduled_events.html
    """

    event_id: str
    code: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True)
class Facts:
    """What an instance can learn about itself."""

    instance_id: str
    image_id: str
    instance_type: str
    address: str
    hostname: str
    zone: str
    region: str
    account: str
    tags: Mapping[str, str] = field(default_factory=dict)
    user_data: bytes = b""
    lifecycle: str = "on-demand"
    target_state: str | None = None
    role: str | None = None
    profile_arn: str | None = None
    architecture: str = "x86_64"
    launched_at: datetime | None = None
    interruption_at: datetime | None = None
    rebalance_at: datetime | None = None
    events: tuple[MaintenanceEvent, ...] = ()


def tree(facts: Facts, now: datetime) -> dict[str, bytes]:
    """Every path below `/latest/` and what it answers."""
    entries = {
        "meta-data/ami-id": facts.image_id,
        "meta-data/hostname": facts.hostname,
        "meta-data/instance-id": facts.instance_id,
        "meta-data/instance-life-cycle": facts.lifecycle,
        "meta-data/instance-type": facts.instance_type,
        "meta-data/local-hostname": facts.hostname,
        "meta-data/local-ipv4": facts.address,
        "meta-data/placement/availability-zone": facts.zone,
        "meta-data/placement/region": facts.region,
        "meta-data/services/domain": "amazonaws.com",
        "meta-data/services/partition": "aws",
        "dynamic/instance-identity/document": json.dumps(_identity(facts), indent=2),
    }
    entries |= {f"meta-data/tags/instance/{key}": value for key, value in facts.tags.items()}
    if facts.target_state:
        entries["meta-data/autoscaling/target-lifecycle-state"] = facts.target_state
    entries |= _announced(facts) | _role(facts, now)
    answers = {path: text.encode() for path, text in entries.items()}
    if facts.user_data:
        answers["user-data"] = facts.user_data
    return answers


def lookup(entries: Mapping[str, bytes], path: str) -> bytes | None:
    """The answer at a path, a listing for a folder, None where there is nothing."""
    wanted = path.strip("/")
    if wanted in entries:
        return entries[wanted]
    prefix = f"{wanted}/" if wanted else ""
    below = {entry[len(prefix) :] for entry in entries if entry.startswith(prefix)}
    # Tag keys may hold slashes; they are names here, not folders.
    flat = wanted == "meta-data/tags/instance"
    names = {name if flat or "/" not in name else name.split("/")[0] + "/" for name in below}
    return "\n".join(sorted(names)).encode() if names else None


def _identity(facts: Facts) -> dict[str, object]:
    return {
        "accountId": facts.account,
        "architecture": facts.architecture,
        "availabilityZone": facts.zone,
        "imageId": facts.image_id,
        "instanceId": facts.instance_id,
        "instanceType": facts.instance_type,
        "pendingTime": _stamp(facts.launched_at or datetime.now(UTC)),
        "privateIp": facts.address,
        "region": facts.region,
        "version": "2017-09-30",
    }


def _announced(facts: Facts) -> dict[str, str]:
    found = {}
    if facts.rebalance_at is not None:
        noticed = json.dumps({"noticeTime": _stamp(facts.rebalance_at)})
        found["meta-data/events/recommendations/rebalance"] = noticed
    if facts.interruption_at is not None:
        time = _stamp(facts.interruption_at)
        action = json.dumps({"action": "terminate", "time": time})
        found["meta-data/spot/instance-action"] = action
        found["meta-data/spot/termination-time"] = time
    if facts.events:
        events = json.dumps([_event(event) for event in facts.events])
        found["meta-data/events/maintenance/scheduled"] = events
    return found


def _event(event: MaintenanceEvent) -> dict[str, str]:
    return {
        "NotBefore": f"{event.not_before.astimezone(UTC):%d %b %Y %H:%M:%S} GMT",
        "NotAfter": f"{event.not_after.astimezone(UTC):%d %b %Y %H:%M:%S} GMT",
        "Code": event.code,
        "Description": f"scheduled {event.code}",
        "EventId": event.event_id,
        "State": "active",
    }


def _role(facts: Facts, now: datetime) -> dict[str, str]:
    if facts.role is None:
        return {}
    document = {
        "Code": "Success",
        "LastUpdated": _stamp(now),
        "Type": "AWS-HMAC",
        "AccessKeyId": "ASIASGLOCAL000000000",
        "SecretAccessKey": "sglocal",
        "Token": "sglocal",
        "Expiration": _stamp(now + CREDENTIALS_VALID),
    }
    info = {"Code": "Success", "LastUpdated": _stamp(now), "InstanceProfileArn": facts.profile_arn}
    return {
        f"meta-data/iam/security-credentials/{facts.role}": json.dumps(document),
        "meta-data/iam/info": json.dumps(info),
    }


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
