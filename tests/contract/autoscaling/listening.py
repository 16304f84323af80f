"""A queue that receives the events of a rule, on the emulator or on AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

TARGET = "queue"
MISSING = ("AWS.SimpleQueueService.NonExistentQueue", "ResourceNotFoundException")

Clients = Callable[[str], Any]


def listen(client: Clients, name: str, pattern: Mapping[str, Any]) -> None:
    """A rule and its queue, both of this name."""
    url = client("sqs").create_queue(QueueName=name)["QueueUrl"]
    arn = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])[
        "Attributes"
    ]["QueueArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
    client("events").put_targets(Rule=name, Targets=[{"Id": TARGET, "Arn": arn}])


def received(client: Clients, name: str) -> list[dict[str, Any]]:
    """The events that came since the last time; they leave the queue."""
    sqs, found = client("sqs"), []
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def silence(client: Clients, name: str) -> None:
    """Remove both, if they are there."""
    steps: tuple[Callable[[], Any], ...] = (
        lambda: client("events").remove_targets(Rule=name, Ids=[TARGET]),
        lambda: client("events").delete_rule(Name=name),
        lambda: client("sqs").delete_queue(
            QueueUrl=client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
        ),
    )
    for step in steps:
        try:
            step()
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING:
                raise
