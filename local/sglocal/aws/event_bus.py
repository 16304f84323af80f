"""EventBridge's default bus: events of AWS services go to the SQS queues of the rules they match.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
moto keeps rules and matches patterns, but no service of it sends what we need here.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from moto.events.utils import EventTemplateParser
from moto.moto_api._internal import mock_random
from moto.sqs.models import Queue, SQSBackend

from sglocal.aws.emulator import Emulator

log = logging.getLogger(__name__)


def install(emulator: Emulator) -> None:
    """Let others call while a receiver waits for messages: moto would hold the lock meanwhile."""
    changed = threading.Condition(emulator.lock)

    def waiting(_original: Any) -> Any:
        def wait_for_messages(_queue: Any, timeout: float) -> None:
            with changed:
                changed.wait(timeout)

        return wait_for_messages

    def telling(original: Any) -> Any:
        def send_message(backend: Any, *args: Any, **kwargs: Any) -> Any:
            with changed:
                sent = original(backend, *args, **kwargs)
                changed.notify_all()
                return sent

        return send_message

    emulator.patches.wrap(Queue, "wait_for_messages", waiting)
    emulator.patches.wrap(SQSBackend, "send_message", telling)


def instance_arn(emulator: Emulator, instance_id: str) -> str:
    at = emulator.settings
    return f"arn:aws:ec2:{at.region}:{at.account}:instance/{instance_id}"


def publish(
    emulator: Emulator, source: str, kind: str, resources: list[str], detail: Mapping[str, Any]
) -> None:
    """Send one event of a service (`source`, as `aws.ec2`) to every target that wants it."""
    event = {
        "version": "0",
        "id": str(mock_random.uuid4()),
        "detail-type": kind,
        "source": source,
        "account": emulator.settings.account,
        "time": emulator.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": emulator.settings.region,
        "resources": resources,
        "detail": dict(detail),
    }
    with emulator.lock:
        bus = emulator.backend("events").event_buses["default"]
        for rule in bus.rules.values():
            # A rule that follows a schedule has no pattern, and would match everything.
            follows = rule.state == "ENABLED" and rule.event_pattern.dump()
            if follows and rule.event_pattern.matches_event(event):
                for target in rule.targets:
                    _deliver(emulator, rule.name, target, event)


def _deliver(
    emulator: Emulator, rule: str, target: Mapping[str, Any], event: Mapping[str, Any]
) -> None:
    service, queue = target["Arn"].split(":")[2], target["Arn"].rsplit(":", 1)[1]
    if service != "sqs":
        log.warning("rule %s: targets of %s are not simulated", rule, service)
        return
    group = target.get("SqsParameters", {}).get("MessageGroupId")
    try:
        body = _body(target, event)
        emulator.backend("sqs").send_message(queue_name=queue, message_body=body, group_id=group)
    except (ServiceException, ValueError) as error:
        # As on AWS, what cannot be delivered disturbs neither the service nor other targets.
        log.error("rule %s: not delivered to %s: %s", rule, queue, error)


def _body(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """The event, or what the target makes of it.

    https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_Target.html
    """
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        found: Any = event
        for part in str(target["InputPath"]).removeprefix("$").strip(".").split("."):
            found = found[part] if part else found
        return json.dumps(found)
    if "InputTransformer" in target:
        given = target["InputTransformer"]
        timed: Any = {**event, "ingestion-time": event["time"]}
        paths = given.get("InputPathsMap", {})
        return json.dumps(EventTemplateParser.parse(given["InputTemplate"], paths, timed))
    return json.dumps(event)
