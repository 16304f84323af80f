"""Inventory, batches, Run Command and events: what `sglctl configure` decides with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sglctl.ansible.inventory import (
    LiveHost,
    batches,
    build_inventory,
    live_hosts,
    proxy_command,
)
from sglctl.ansible.runner import TaskEvent, parse_event
from sglctl.aws.run_command import RunCommand
from sglctl.errors import SglctlError, WaitTimeoutError

W1 = LiveHost("i-1", "10.0.0.1", "worker", "chat")
W2 = LiveHost("i-2", "10.0.0.2", "worker", "chat")
W3 = LiveHost("i-3", "10.0.0.3", "worker", "reason")
R1 = LiveHost("i-4", "10.0.0.4", "router")


def instance(instance_id: str, address: str, **tags: str) -> dict[str, Any]:
    pairs = [{"Key": f"sglctl:{key}", "Value": value} for key, value in tags.items()]
    return {"InstanceId": instance_id, "PrivateIpAddress": address, "Tags": pairs}


def test_live_hosts_are_those_with_a_role_in_the_order_of_ids() -> None:
    reservations = [
        {"Instances": [instance("i-4", "10.0.0.4", role="router"), instance("i-9", "10.0.0.9")]},
        {"Instances": [instance("i-1", "10.0.0.1", role="worker", fleet="chat")]},
    ]
    assert live_hosts(reservations) == [W1, R1]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, [["i-1"], ["i-2"], ["i-3"], ["i-4"]]),
        (2, [["i-1", "i-2"], ["i-3"], ["i-4"]]),
        (9, [["i-1", "i-2", "i-3"], ["i-4"]]),
    ],
)
def test_batches_take_workers_first_and_never_mix_roles(
    size: int, expected: list[list[str]]
) -> None:
    groups = batches([R1, W1, W2, W3], size)
    assert [[host.instance_id for host in group] for group in groups] == expected


def test_the_inventory_reaches_local_hosts_through_the_hub_by_address() -> None:
    inventory = build_inventory(
        [W1, R1], hub="sgl-x", region="eu-west-1", user="root", key_file=Path("/k"),
        variables=lambda host: {"fleet": host.fleet},
    )  # fmt: skip
    children = inventory["all"]["children"]
    assert children["workers"]["hosts"] == {"i-1": {"fleet": "chat", "ansible_host": "10.0.0.1"}}
    assert children["routers"]["hosts"] == {"i-4": {"fleet": None, "ansible_host": "10.0.0.4"}}
    args = inventory["all"]["vars"]["ansible_ssh_common_args"]
    assert "nsenter --net=/run/netns/sgl-x nc %h %p" in args


def test_on_aws_hosts_are_reached_by_instance_id_through_session_manager() -> None:
    inventory = build_inventory(
        [W1], hub=None, region="eu-west-1", user="ubuntu", key_file=Path("/k"),
        variables=lambda host: {},
    )  # fmt: skip
    assert inventory["all"]["children"]["workers"]["hosts"]["i-1"]["ansible_host"] == "i-1"
    assert "start-session --target %n" in proxy_command(None, "eu-west-1")


EVENTS: list[tuple[dict[str, Any], TaskEvent | None]] = [
    ({"event": "playbook_on_start"}, None),
    (
        {"event": "runner_on_ok",
         "event_data": {"host": "i-1", "task": "t", "duration": 1.5, "res": {"changed": True}}},
        TaskEvent("i-1", "t", "ok", True, 1.5),
    ),
    (
        {"event": "runner_on_failed",
         "event_data": {"host": "i-1", "task": "t", "res": {"msg": "no space"}}},
        TaskEvent("i-1", "t", "failed", False, 0.0, "no space"),
    ),
    (
        {"event": "runner_on_failed",
         "event_data": {"host": "i-1", "task": "t", "ignore_errors": True, "res": {}}},
        TaskEvent("i-1", "t", "ok", False, 0.0),
    ),
    (
        {"event": "runner_on_unreachable",
         "event_data": {"host": "i-1", "task": "t", "res": {"msg": "timed out"}}},
        TaskEvent("i-1", "t", "unreachable", False, 0.0, "timed out"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("event", "expected"), EVENTS)
def test_only_the_end_of_a_task_is_an_event(
    event: dict[str, Any], expected: TaskEvent | None
) -> None:
    assert parse_event(event) == expected


class FakeSsm:
    """Run Command that answers with the statuses it was given, one a poll."""

    class exceptions:  # noqa: N801 - boto3's own spelling
        class InvalidInstanceId(Exception):  # noqa: N818
            """Unknown instance."""

        class InvocationDoesNotExist(Exception):  # noqa: N818
            """Not registered yet."""

    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)
        self.sent: list[dict[str, Any]] = []

    def send_command(self, **request: Any) -> dict[str, Any]:
        if "i-unknown" in request["InstanceIds"]:
            raise self.exceptions.InvalidInstanceId
        self.sent.append(request)
        return {"Command": {"CommandId": f"c{len(self.sent)}"}}

    def get_command_invocation(self, **_: Any) -> dict[str, Any]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == "unregistered":
            raise self.exceptions.InvocationDoesNotExist
        return {"Status": status, "ResponseCode": 3, "StandardOutputContent": "out"}


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def run_command(ssm: FakeSsm) -> RunCommand:
    clock = Clock()
    return RunCommand(ssm, clock=clock, sleep=clock.sleep)


def test_a_command_is_waited_for_through_registration_and_progress() -> None:
    ssm = FakeSsm("unregistered", "Pending", "InProgress", "Success")
    result = run_command(ssm).run(["i-1"], "true", timeout_s=30)["i-1"]
    assert (result.ok, result.stdout, result.exit_code) == (True, "out", 3)


def test_a_failed_command_is_a_result_not_an_error() -> None:
    assert run_command(FakeSsm("Failed")).run(["i-1"], "false", timeout_s=9)["i-1"].ok is False


def test_a_command_that_never_ends_is_given_up_at_its_deadline() -> None:
    with pytest.raises(WaitTimeoutError, match="i-1 did not end"):
        run_command(FakeSsm("InProgress")).run(["i-1"], "sleep", timeout_s=5)


def test_an_instance_without_run_command_is_named() -> None:
    with pytest.raises(SglctlError, match="does not reach i-unknown"):
        run_command(FakeSsm("Success")).run(["i-unknown"], "true", timeout_s=5)


def test_more_than_fifty_instances_are_sent_in_batches() -> None:
    ssm = FakeSsm("Success")
    ids = [f"i-{n}" for n in range(120)]
    results = run_command(ssm).run(ids, "true", timeout_s=5)
    assert [len(request["InstanceIds"]) for request in ssm.sent] == [50, 50, 20]
    assert set(results) == set(ids)
