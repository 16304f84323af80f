"""Groups keep their desired capacity, and hooks hold."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


def hook(name: str, transition: str, timeout: int = 600, result: str = "ABANDON") -> dict[str, Any]:
    return {
        "LifecycleHookName": name,
        "LifecycleTransition": transition,
        "HeartbeatTimeout": timeout,
        "DefaultResult": result,
    }


def complete(cloud: Any, name: str, instance_id: str, result: str = "CONTINUE") -> None:
    cloud.client("autoscaling").complete_lifecycle_action(
        AutoScalingGroupName="workers",
        LifecycleHookName=name,
        InstanceId=instance_id,
        LifecycleActionResult=result,
    )


def desire(cloud: Any, count: int) -> None:
    cloud.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName="workers", DesiredCapacity=count
    )


def test_a_group_on_a_second_template_version_with_user_data_launches(cloud: Any) -> None:
    template = cloud.template("workers", UserData="djE=")
    cloud.client("ec2").create_launch_template_version(
        LaunchTemplateId=template["LaunchTemplateId"],
        LaunchTemplateData={
            "ImageId": cloud.image(),
            "InstanceType": "g6e.xlarge",
            "UserData": "djI=",
        },
    )
    describe = cloud.group(LaunchTemplate={**template, "Version": "2"})
    instance_id = cloud.settle(describe, 1)[0]
    answer = cloud.client("ec2").describe_instance_attribute(
        InstanceId=instance_id, Attribute="userData"
    )
    assert answer["UserData"]["Value"] == "djI="


def test_a_member_reports_the_template_version_it_was_launched_from(cloud: Any) -> None:
    template = cloud.template("workers")
    describe = cloud.group(LaunchTemplate=template)
    cloud.settle(describe, 1)
    ec2 = cloud.client("ec2")
    ec2.create_launch_template_version(
        LaunchTemplateId=template["LaunchTemplateId"],
        SourceVersion="1",
        LaunchTemplateData={"ImageId": cloud.image(), "InstanceType": "g6e.2xlarge"},
    )
    ec2.modify_launch_template(LaunchTemplateId=template["LaunchTemplateId"], DefaultVersion="2")
    assert describe()["Instances"][0]["LaunchTemplate"]["Version"] == "1"


def test_a_launch_hook_holds_until_it_is_completed(cloud: Any) -> None:
    describe = cloud.group(LifecycleHookSpecificationList=[hook("launch", LAUNCHING)])
    cloud.until(lambda: cloud.states(describe) == ["Pending:Wait"])
    instance_id = describe()["Instances"][0]["InstanceId"]
    cloud.until(lambda: cloud.instance_state(instance_id) == "running")
    assert cloud.states(describe) == ["Pending:Wait"]
    complete(cloud, "launch", instance_id)
    assert cloud.settle(describe, 1) == [instance_id]


def test_a_terminate_hook_holds_the_instance(cloud: Any) -> None:
    describe = cloud.group(LifecycleHookSpecificationList=[hook("terminate", TERMINATING)])
    instance_id = cloud.settle(describe, 1)[0]
    desire(cloud, 0)
    cloud.until(lambda: cloud.states(describe) == ["Terminating:Wait"])
    assert cloud.instance_state(instance_id) == "running"
    cloud.client("autoscaling").record_lifecycle_action_heartbeat(
        AutoScalingGroupName="workers", LifecycleHookName="terminate", InstanceId=instance_id
    )
    complete(cloud, "terminate", instance_id)
    cloud.until(lambda: cloud.states(describe) == [])
    assert cloud.instance_state(instance_id) == "terminated"


def test_a_hook_is_described_as_it_was_declared(cloud: Any) -> None:
    cloud.group(LifecycleHookSpecificationList=[hook("launch", LAUNCHING, timeout=900)])
    client = cloud.client("autoscaling")
    client.put_lifecycle_hook(
        AutoScalingGroupName="workers", LifecycleHookName="launch", HeartbeatTimeout=120
    )
    described = client.describe_lifecycle_hooks(AutoScalingGroupName="workers")["LifecycleHooks"]
    assert described == [
        {
            "LifecycleHookName": "launch",
            "AutoScalingGroupName": "workers",
            "LifecycleTransition": LAUNCHING,
            "HeartbeatTimeout": 120,
            "GlobalTimeout": 12000,
            "DefaultResult": "ABANDON",
        }
    ]


def test_a_spot_group_launches_spot_instances_of_the_first_type(cloud: Any) -> None:
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": cloud.template("spot"),
            "Overrides": [{"InstanceType": "g6.xlarge"}, {"InstanceType": "g5.xlarge"}],
        },
        "InstancesDistribution": {
            "OnDemandBaseCapacity": 0,
            "OnDemandPercentageAboveBaseCapacity": 0,
        },
    }
    describe = cloud.group(MixedInstancesPolicy=policy)
    instance_id = cloud.settle(describe, 1)[0]
    found = cloud.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
    instance = found[0]["Instances"][0]
    assert (instance["InstanceLifecycle"], instance["InstanceType"]) == ("spot", "g6.xlarge")


def test_an_update_that_names_sizes_only_keeps_the_policy_and_the_template(cloud: Any) -> None:
    specification = {"LaunchTemplateSpecification": cloud.template("mixed")}
    describe = cloud.group(
        MixedInstancesPolicy={"LaunchTemplate": specification},
        DefaultInstanceWarmup=30,
        InstanceMaintenancePolicy={"MinHealthyPercentage": 90, "MaxHealthyPercentage": 110},
    )
    cloud.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName="workers", MinSize=1)
    group = describe()
    assert "LaunchTemplate" not in group
    assert group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
    assert group["DefaultInstanceWarmup"] == 30
    assert group["InstanceMaintenancePolicy"]["MinHealthyPercentage"] == 90


def test_a_group_with_instances_is_deleted_only_by_force(cloud: Any) -> None:
    describe = cloud.group(LifecycleHookSpecificationList=[hook("terminate", TERMINATING)])
    instance_id = cloud.settle(describe, 1)[0]
    client = cloud.client("autoscaling")
    with pytest.raises(ClientError, match="ResourceInUse"):
        client.delete_auto_scaling_group(AutoScalingGroupName="workers")
    client.delete_auto_scaling_group(AutoScalingGroupName="workers", ForceDelete=True)
    cloud.until(lambda: client.describe_auto_scaling_groups()["AutoScalingGroups"] == [])
    assert cloud.instance_state(instance_id) == "terminated"


def test_a_failed_launch_is_an_activity_with_its_reason(cloud: Any) -> None:
    cloud.driver.refuse_launch = "no memory"
    cloud.group()
    client = cloud.client("autoscaling")

    def failed() -> list[Any]:
        found = client.describe_scaling_activities(AutoScalingGroupName="workers")["Activities"]
        return [a for a in found if a["StatusCode"] == "Failed"]

    assert "host did not start: no memory" in cloud.until(failed)[0]["StatusMessage"]


def test_a_scaling_policy_is_answered_with_its_arn(cloud: Any) -> None:
    cloud.group()
    answer = cloud.client("autoscaling").put_scaling_policy(
        AutoScalingGroupName="workers",
        PolicyName="track",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
            "TargetValue": 50,
        },
    )
    assert answer["PolicyARN"].endswith("policyName/track")
