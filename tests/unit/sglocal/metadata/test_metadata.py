"""Instance metadata: the tree, and the token flow of version 2."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sglocal.aws.fault_list import METADATA, FaultList, parse_fault
from sglocal.clock import VirtualClock
from sglocal.metadata.app import MetadataApp
from sglocal.metadata.tree import Facts, MaintenanceEvent, lookup, tree

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
FACTS = Facts(
    instance_id="i-1",
    image_id="ami-1",
    instance_type="g6e.xlarge",
    address="10.40.0.4",
    hostname="ip-10-40-0-4.ec2.internal",
    zone="us-east-1a",
    region="us-east-1",
    account="111122223333",
    tags={"sglctl:role": "worker", "a/b": "slash"},
    user_data=b"environment: prod\n",
    target_state="InService",
    role="worker",
    profile_arn="arn:aws:iam::111122223333:instance-profile/worker",
)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("meta-data/instance-id", "i-1"),
        ("meta-data/tags/instance", "a/b\nsglctl:role"),
        ("meta-data/tags/instance/sglctl:role", "worker"),
        ("meta-data/placement/", "availability-zone\nregion"),
        ("meta-data/autoscaling/target-lifecycle-state", "InService"),
        ("meta-data/iam/security-credentials/", "worker"),
        ("user-data", "environment: prod\n"),
        ("meta-data/spot/instance-action", None),
        ("meta-data/nothing", None),
    ],
)
def test_a_path_answers(path: str, answer: str | None) -> None:
    found = lookup(tree(FACTS, NOW), path)
    assert (found.decode() if found is not None else None) == answer


def test_a_notice_appears_with_its_time() -> None:
    entries = tree(replace(FACTS, interruption_at=NOW, rebalance_at=NOW), NOW)
    action = json.loads(entries["meta-data/spot/instance-action"])
    assert action == {"action": "terminate", "time": "2026-11-21T10:00:00Z"}
    rebalance = json.loads(entries["meta-data/events/recommendations/rebalance"])
    assert rebalance == {"noticeTime": "2026-11-21T10:00:00Z"}


def call(app: MetadataApp, method: str, path: str, **headers: str) -> tuple[str, bytes]:
    seen: list[str] = []

    def start(status: str, _headers: Any) -> None:
        seen.append(status)

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
    environ |= {f"HTTP_X_AWS_EC2_METADATA_{name.upper()}": value for name, value in headers.items()}
    body = b"".join(app(environ, start))
    return seen[0][:3], body


def test_a_request_without_a_token_is_refused_and_one_with_it_answered() -> None:
    clock = VirtualClock()
    app = MetadataApp(lambda _environ: FACTS, clock)
    path = "/latest/meta-data/instance-id"
    assert call(app, "GET", path)[0] == "401"
    status, token = call(app, "PUT", "/latest/api/token", token_ttl_seconds="60")
    assert status == "200"
    assert call(app, "GET", path, token=token.decode()) == ("200", b"i-1")
    clock.advance(61)
    assert call(app, "GET", path, token=token.decode())[0] == "401"


@pytest.mark.parametrize("ttl", ["", "0", "21601", "x"])
def test_a_token_needs_a_sensible_lifetime(ttl: str) -> None:
    app = MetadataApp(lambda _environ: FACTS, VirtualClock())
    assert call(app, "PUT", "/latest/api/token", token_ttl_seconds=ttl)[0] == "400"


def test_a_caller_that_is_no_instance_gets_nothing() -> None:
    app = MetadataApp(lambda _environ: None, VirtualClock())
    assert call(app, "GET", "/latest/meta-data/")[0] == "404"


def test_a_rebalance_recommendation_needs_no_interruption() -> None:
    entries = tree(replace(FACTS, rebalance_at=NOW), NOW)
    assert "meta-data/events/recommendations/rebalance" in entries
    assert "meta-data/spot/instance-action" not in entries


def test_a_scheduled_event_is_listed_as_ec2_does() -> None:
    event = MaintenanceEvent("instance-event-1", "instance-retirement", NOW, NOW)
    entries = tree(replace(FACTS, events=(event,)), NOW)
    assert json.loads(entries["meta-data/events/maintenance/scheduled"]) == [
        {
            "NotBefore": "21 Nov 2026 10:00:00 GMT",
            "NotAfter": "21 Nov 2026 10:00:00 GMT",
            "Code": "instance-retirement",
            "Description": "scheduled instance-retirement",
            "EventId": "instance-event-1",
            "State": "active",
        }
    ]


def test_a_fault_makes_one_instances_metadata_late_or_unavailable() -> None:
    faults, slept = FaultList(), []
    faults.add(parse_fault({"api": METADATA, "instance_id": "i-1", "latency_s": 3, "times": 1}))
    faults.add(parse_fault({"api": METADATA, "instance_id": "i-2", "code": "X"}))
    faults.add(parse_fault({"api": METADATA, "instance_id": "i-1", "code": "X", "times": 1}))
    app = MetadataApp(
        lambda _environ: FACTS,
        VirtualClock(),
        spoil=lambda instance_id: faults.take(METADATA, instance_id=instance_id),
        sleep=slept.append,
    )
    answers = [call(app, "PUT", "/latest/api/token", token_ttl_seconds="60")[0] for _ in range(3)]
    assert (answers, slept) == (["200", "503", "200"], [3.0, 0.0])
