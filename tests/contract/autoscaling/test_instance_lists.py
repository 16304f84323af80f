"""Lists of instances are whole or in the pages that were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from scaling_world import VirtualWorld

COUNT = 104  # moto ends its answers after a hundred


@pytest.fixture(scope="module")
def ids(world: VirtualWorld) -> Iterator[list[str]]:
    """A group's running instances."""
    world.create_group("many", {"max": COUNT, "desired": COUNT})
    world.advance(5)
    found = world.client("autoscaling").describe_auto_scaling_instances()["AutoScalingInstances"]
    yield [member["InstanceId"] for member in found]
    world.remove_group("many")


def listed(answer: dict[str, Any]) -> set[str]:
    return {i["InstanceId"] for r in answer["Reservations"] for i in r["Instances"]}


def test_instances_named_by_their_ids_come_in_one_answer(
    world: VirtualWorld, ids: list[str]
) -> None:
    answer = world.client("ec2").describe_instances(InstanceIds=ids)
    assert (listed(answer), "NextToken" in answer) == (set(ids), False)


def test_instances_come_in_one_answer_without_max_results(
    world: VirtualWorld, ids: list[str]
) -> None:
    running = [{"Name": "instance-state-name", "Values": ["running"]}]
    answer = world.client("ec2").describe_instances(Filters=running)
    assert (listed(answer), "NextToken" in answer) == (set(ids), False)


def test_pages_are_as_long_as_asked_for(world: VirtualWorld, ids: list[str]) -> None:
    pages = world.client("ec2").get_paginator("describe_instances")
    found = [listed(page) for page in pages.paginate(PaginationConfig={"PageSize": 50})]
    assert [len(page) for page in found] == [50, 50, 4]
    assert set().union(*found) == set(ids)


def test_ids_and_filters_hold_together(world: VirtualWorld, ids: list[str]) -> None:
    one = [{"Name": "instance-id", "Values": ids[:1]}]
    answer = world.client("ec2").describe_instances(InstanceIds=ids[:2], Filters=one)
    assert listed(answer) == {ids[0]}


def test_the_other_instances_of_a_launch_are_not_listed(world: VirtualWorld) -> None:
    """Nor are they lost: a reservation keeps them all."""
    ec2 = world.client("ec2")
    image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, MinCount=3, MaxCount=3, InstanceType="g6e.xlarge")
    three = [i["InstanceId"] for i in made["Instances"]]
    answers = [ec2.describe_instances(InstanceIds=some) for some in (three[1:2], three)]
    assert [listed(answer) for answer in answers] == [{three[1]}, set(three)]


def test_an_unknown_id_is_refused_by_name(world: VirtualWorld, ids: list[str]) -> None:
    unknown = "i-0123456789abcdef0"
    with pytest.raises(ClientError, match=rf"InvalidInstanceID\.NotFound.*{unknown}"):
        world.client("ec2").describe_instances(InstanceIds=[ids[0], unknown])
