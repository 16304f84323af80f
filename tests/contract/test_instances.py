"""Instances become hosts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError


def run(cloud: Any, **given: Any) -> str:
    subnet = cloud.subnets()[0]
    answer = cloud.client("ec2").run_instances(
        ImageId=cloud.image(), MinCount=1, MaxCount=1, SubnetId=subnet, **given
    )
    return str(answer["Instances"][0]["InstanceId"])


def reason(cloud: Any, instance_id: str) -> dict[str, str]:
    found = cloud.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
    return dict(found[0]["Instances"][0]["StateReason"])


def test_an_instance_is_pending_until_its_host_runs(cloud: Any) -> None:
    driver = cloud.driver
    driver.hold_launch.clear()
    instance_id = run(cloud)
    assert cloud.instance_state(instance_id) == "pending"
    driver.hold_launch.set()
    cloud.until(lambda: cloud.instance_state(instance_id) == "running")
    assert ("launch", instance_id) in driver.calls


def test_a_host_that_cannot_start_ends_its_instance_with_a_reason(cloud: Any) -> None:
    cloud.driver.refuse_launch = "no space left on device"
    instance_id = run(cloud)
    cloud.until(lambda: cloud.instance_state(instance_id) == "terminated")
    assert reason(cloud, instance_id) == {
        "Code": "Server.InternalError",
        "Message": "host did not start: no space left on device",
    }


def test_a_terminated_host_has_the_time_that_a_routers_drain_takes(cloud: Any) -> None:
    """Its notice (15 s) and the streams that other routers sent it: no hook knows of those."""
    instance_id = run(cloud)
    cloud.until(lambda: cloud.instance_state(instance_id) == "running")
    cloud.client("ec2").terminate_instances(InstanceIds=[instance_id])
    cloud.until(lambda: cloud.instance_state(instance_id) == "terminated")
    assert cloud.driver.graces[instance_id] >= 45.0


def test_a_host_gets_address_keys_tags_user_data_and_the_endpoint(sglocal: Any) -> None:
    key = sglocal.client("ec2").create_key_pair(KeyName="ops", KeyType="ed25519")
    assert key["KeyName"] == "ops"
    tags = [{"Key": "sglctl:role", "Value": "worker"}]
    instance_id = run(
        sglocal,
        KeyName="ops",
        UserData="environment: prod\n",
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    sglocal.until(lambda: sglocal.instance_state(instance_id) == "running")
    spec = sglocal.driver.specs[instance_id]
    assert (spec.address, spec.prefix_length, spec.user_data) == (
        "10.40.0.4",  # the first address that AWS does not reserve in a subnet
        16,
        b"environment: prod\n",
    )
    assert dict(spec.tags) == {"sglctl:role": "worker"}
    assert spec.authorized_keys[0].startswith("ssh-ed25519 ")
    assert spec.environment["AWS_ENDPOINT_URL"] == "http://169.254.169.253:5566"
    assert sglocal.driver.networks == {"10.40.0.0/16"}


def test_a_process_host_is_reported_at_the_address_where_it_answers(process_cloud: Any) -> None:
    cloud = process_cloud
    tags = [{"Key": "sglctl:role", "Value": "worker"}]
    specification = [{"ResourceType": "instance", "Tags": tags}]
    instance_id = run(cloud, TagSpecifications=specification)
    cloud.until(lambda: cloud.instance_state(instance_id) == "running")
    found = cloud.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
    assert found[0]["Instances"][0]["PrivateIpAddress"] == "127.40.0.4"
    environment = cloud.driver.specs[instance_id].environment
    assert environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] == "http://127.40.0.4:8169"


def test_stopping_and_starting_waits_for_the_host(cloud: Any) -> None:
    instance_id = run(cloud)
    cloud.until(lambda: cloud.instance_state(instance_id) == "running")
    cloud.client("ec2").stop_instances(InstanceIds=[instance_id])
    cloud.until(lambda: cloud.instance_state(instance_id) == "stopped")
    cloud.client("ec2").start_instances(InstanceIds=[instance_id])
    cloud.until(lambda: cloud.instance_state(instance_id) == "running")
    assert [call for call, _ in cloud.driver.calls] == ["launch", "stop", "start"]


def test_an_instance_that_is_started_again_is_launched_anew(cloud: Any) -> None:
    """LaunchTime is that of the last start; instance metadata tells it as pendingTime."""
    ec2, instance_id = cloud.client("ec2"), run(cloud)

    def launched() -> datetime:
        found = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        launch_time: datetime = found[0]["Instances"][0]["LaunchTime"]
        return launch_time

    cloud.until(lambda: cloud.instance_state(instance_id) == "running")
    first = launched()
    ec2.stop_instances(InstanceIds=[instance_id])
    cloud.until(lambda: cloud.instance_state(instance_id) == "stopped")
    cloud.until(lambda: datetime.now(UTC) > first + timedelta(seconds=1))
    ec2.start_instances(InstanceIds=[instance_id])
    assert launched() > first


def test_a_terminated_instance_loses_its_host(cloud: Any) -> None:
    instance_id = run(cloud)
    cloud.until(lambda: cloud.instance_state(instance_id) == "running")
    cloud.client("ec2").terminate_instances(InstanceIds=[instance_id])
    cloud.until(lambda: cloud.instance_state(instance_id) == "terminated")
    assert ("terminate", instance_id) in cloud.driver.calls


def test_a_host_that_dies_by_itself_ends_its_instance(cloud: Any) -> None:
    instance_id = run(cloud)
    cloud.until(lambda: cloud.instance_state(instance_id) == "running")
    cloud.driver.states[instance_id] = "gone"
    cloud.until(lambda: cloud.instance_state(instance_id) == "terminated")


def test_an_unknown_image_is_refused(cloud: Any) -> None:
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        cloud.client("ec2").run_instances(
            ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1, SubnetId=cloud.subnets()[0]
        )


def test_a_call_that_is_not_simulated_says_so_once(cloud: Any) -> None:
    with pytest.raises(ClientError, match="sglocal does not simulate this call"):
        cloud.client("autoscaling").describe_traffic_sources(AutoScalingGroupName="x")


def test_a_rule_that_names_a_group_keeps_its_description(cloud: Any) -> None:
    cloud.subnets()
    ec2 = cloud.client("ec2")
    group = ec2.create_security_group(GroupName="routers", Description="r", VpcId=cloud.vpc)
    pair = {"GroupId": group["GroupId"], "Description": "Other routers"}
    permission = {
        "IpProtocol": "tcp",
        "FromPort": 8000,
        "ToPort": 8000,
        "UserIdGroupPairs": [pair],
    }
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[permission])
    rules = ec2.describe_security_group_rules(
        Filters=[{"Name": "group-id", "Values": [group["GroupId"]]}]
    )["SecurityGroupRules"]
    assert "Other routers" in [rule.get("Description") for rule in rules]
