"""The default event bus: what its targets make of an event, and who waits for its queues."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sglocal.aws.event_bus import publish

PATTERN = json.dumps({"source": ["aws.ec2"]})


def queue(cloud: Any, name: str = "queue") -> tuple[str, str]:
    """URL and ARN of a new queue."""
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, answer["Attributes"]["QueueArn"]


def rule(cloud: Any, *targets: dict[str, Any]) -> None:
    events = cloud.client("events")
    events.put_rule(Name="rule", EventPattern=PATTERN)
    numbered = [{"Id": str(number), **target} for number, target in enumerate(targets)]
    events.put_targets(Rule="rule", Targets=numbered)


def send(cloud: Any) -> None:
    detail = {"instance-id": "i-1", "state": "running"}
    publish(cloud.daemon.emulator, "aws.ec2", "Changed", ["arn:one"], detail)


def bodies(cloud: Any, url: str, **more: Any) -> list[Any]:
    answer = cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, **more)
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def test_an_event_has_every_documented_field(sglocal: Any) -> None:
    url, arn = queue(sglocal)
    rule(sglocal, {"Arn": arn})
    send(sglocal)
    [event] = bodies(sglocal, url)
    assert event.pop("id")
    assert event.pop("time").endswith("Z")
    assert event == {
        "version": "0",
        "detail-type": "Changed",
        "source": "aws.ec2",
        "account": sglocal.daemon.settings.account,
        "region": sglocal.daemon.settings.region,
        "resources": ["arn:one"],
        "detail": {"instance-id": "i-1", "state": "running"},
    }


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"Input": '{"constant": 1}'}, {"constant": 1}),
        ({"InputPath": "$.detail"}, {"instance-id": "i-1", "state": "running"}),
        ({"InputPath": "$.detail.state"}, "running"),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"id": "$.detail.instance-id"},
                    "InputTemplate": '{"who": "<id>"}',
                }
            },
            {"who": "i-1"},
        ),
    ],
)
def test_a_target_gets_what_it_asks_for(
    sglocal: Any, target: dict[str, Any], expected: Any
) -> None:
    url, arn = queue(sglocal)
    rule(sglocal, {"Arn": arn, **target})
    send(sglocal)
    assert bodies(sglocal, url) == [expected]


def test_a_target_that_cannot_be_reached_does_not_disturb_the_others(
    sglocal: Any, caplog: pytest.LogCaptureFixture
) -> None:
    url, arn = queue(sglocal)
    gone = arn.replace(":queue", ":gone")
    topic = arn.replace(":sqs:", ":sns:")
    rule(sglocal, {"Arn": gone}, {"Arn": topic}, {"Arn": arn})
    with caplog.at_level(logging.WARNING, "sglocal.aws.event_bus"):
        send(sglocal)
    assert len(bodies(sglocal, url)) == 1
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "not delivered to gone" in said
    assert "targets of sns are not simulated" in said


def test_other_calls_are_answered_while_a_receiver_waits(sglocal: Any) -> None:
    url, arn = queue(sglocal)
    rule(sglocal, {"Arn": arn})
    with ThreadPoolExecutor(1) as pool:
        # Held up behind it, the event would come after the receiver has given up.
        waiting = pool.submit(bodies, sglocal, url, WaitTimeSeconds=15)
        sglocal.client("ec2").describe_instances()
        send(sglocal)
        assert [event["detail"]["state"] for event in waiting.result(14)] == ["running"]


def test_a_rule_that_follows_a_schedule_gets_no_events(sglocal: Any) -> None:
    url, arn = queue(sglocal)
    events = sglocal.client("events")
    events.put_rule(Name="hourly", ScheduleExpression="rate(1 hour)")
    events.put_targets(Rule="hourly", Targets=[{"Id": "0", "Arn": arn}])
    send(sglocal)
    assert bodies(sglocal, url) == []
