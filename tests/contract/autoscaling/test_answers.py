"""Answers of the query and the EC2 protocol are moto's, for all that the project asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from both_ways import BothWays
from scaling_world import VirtualWorld

# What sglctl, agents, routers, Terraform, Packer and Ansible ask; without arguments: for all.
ASKED: dict[str, tuple[str, ...]] = {
    "autoscaling": (
        "describe_auto_scaling_groups",
        "describe_auto_scaling_instances",
        "describe_policies",
        "describe_scaling_activities",
        "describe_tags",
    ),
    "ec2": (
        "describe_account_attributes",
        "describe_addresses",
        "describe_availability_zones",
        "describe_images",
        "describe_instance_status",
        "describe_instances",
        "describe_internet_gateways",
        "describe_key_pairs",
        "describe_launch_templates",
        "describe_nat_gateways",
        "describe_network_acls",
        "describe_network_interfaces",
        "describe_prefix_lists",
        "describe_regions",
        "describe_route_tables",
        "describe_security_group_rules",
        "describe_security_groups",
        "describe_snapshots",
        "describe_subnets",
        "describe_tags",
        "describe_volumes",
        "describe_vpc_endpoints",
        "describe_vpcs",
    ),
    "elbv2": ("describe_load_balancers", "describe_target_groups"),
    "iam": ("list_instance_profiles", "list_roles"),
    "sts": ("get_caller_identity",),
}
# Actions of listeners may hold a map.
LEFT_TO_MOTO = {"elbv2:CreateListener", "elbv2:DescribeListeners", "elbv2:DescribeRules"}
GROUPS = {
    "plain": {
        "max": 6,
        "desired": 3,
        "zones": 3,
        "hooks": {"launch": {}, "terminate": {"timeout": 60}},
        "warm_pool": {"PoolState": "Stopped", "MinSize": 2},
        "more": {
            "HealthCheckGracePeriod": 30,
            "DefaultInstanceWarmup": 20,
            "NewInstancesProtectedFromScaleIn": True,
            "TerminationPolicies": ["OldestInstance"],
            "Tags": [{"Key": "sglctl:role", "Value": 'a & b < "c"', "PropagateAtLaunch": True}],
        },
    },
    "mixed": {
        "max": 6,
        "desired": 4,
        "more": {
            "CapacityRebalance": True,
            "MixedInstancesPolicy": {
                "LaunchTemplate": {
                    "Overrides": [{"InstanceType": "g6e.xlarge"}, {"InstanceType": "g6.xlarge"}]
                },
                "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 50},
            },
        },
    },
}


@pytest.fixture(scope="module")
def fleet(world: VirtualWorld) -> Iterator[VirtualWorld]:
    """Two groups and an instance outside, in many states, behind a load balancer."""
    for name, given in GROUPS.items():
        world.create_group(name, given)
    alone = run_alone(world)
    balance(world)
    world.advance(20)
    scaling, ec2 = world.client("autoscaling"), world.client("ec2")
    scaling.put_scaling_policy(
        AutoScalingGroupName="mixed",
        PolicyName="busy",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={
            "TargetValue": 50.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
        },
    )
    members = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["mixed"])
    first, second = (i["InstanceId"] for i in members["AutoScalingGroups"][0]["Instances"][:2])
    scaling.enter_standby(
        InstanceIds=[first], AutoScalingGroupName="mixed", ShouldDecrementDesiredCapacity=True
    )
    ec2.terminate_instances(InstanceIds=[second])
    ec2.stop_instances(InstanceIds=[alone])
    world.new_template_version("plain", used=True)
    world.advance(5)
    scaling.start_instance_refresh(AutoScalingGroupName="mixed")
    world.advance(5)
    yield world
    for name in GROUPS:
        world.remove_group(name)


def run_alone(world: VirtualWorld) -> str:
    """An instance with what can be said of one: profile, key, disks, a network card, tags."""
    ec2, iam = world.client("ec2"), world.client("iam")
    iam.create_role(RoleName="alone", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="alone")
    iam.add_role_to_instance_profile(InstanceProfileName="alone", RoleName="alone")
    ec2.create_key_pair(KeyName="alone", KeyType="ed25519")
    disk = {"VolumeSize": 20, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    made = ec2.run_instances(
        ImageId=ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"],
        MinCount=1,
        MaxCount=1,
        InstanceType="g6e.xlarge",
        KeyName="alone",
        EbsOptimized=True,
        Monitoring={"Enabled": True},
        IamInstanceProfile={"Name": "alone"},
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": disk}],
        NetworkInterfaces=[
            {
                "DeviceIndex": 0,
                "SubnetId": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
                "AssociatePublicIpAddress": True,
            }
        ],
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "<alone> & é"}]}
        ],
    )
    return str(made["Instances"][0]["InstanceId"])


def balance(world: VirtualWorld) -> None:
    """A load balancer with a listener, its target group attached to a group."""
    elbv2, subnets = world.client("elbv2"), world.client("ec2").describe_subnets()["Subnets"]
    vpc = subnets[0]["VpcId"]
    own = [subnet["SubnetId"] for subnet in subnets if subnet["VpcId"] == vpc]
    target = elbv2.create_target_group(Name="routers", Protocol="HTTP", Port=8000, VpcId=vpc)
    arn = target["TargetGroups"][0]["TargetGroupArn"]
    made = elbv2.create_load_balancer(Name="front", Subnets=own[:2], Scheme="internal")
    elbv2.create_listener(
        LoadBalancerArn=made["LoadBalancers"][0]["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
    )
    world.client("autoscaling").attach_load_balancer_target_groups(
        AutoScalingGroupName="plain", TargetGroupARNs=[arn]
    )


def ask(world: VirtualWorld) -> None:
    """Everything once, what needs arguments with those of the fleet."""
    for service, methods in ASKED.items():
        for method in methods:
            getattr(world.client(service), method)()
    scaling, elbv2, ec2 = (world.client(name) for name in ("autoscaling", "elbv2", "ec2"))
    for name in GROUPS:
        scaling.describe_warm_pool(AutoScalingGroupName=name)
        scaling.describe_lifecycle_hooks(AutoScalingGroupName=name)
        scaling.describe_instance_refreshes(AutoScalingGroupName=name)
        ec2.describe_launch_template_versions(LaunchTemplateName=name)
    for group in elbv2.describe_target_groups()["TargetGroups"]:
        elbv2.describe_target_health(TargetGroupArn=group["TargetGroupArn"])
        elbv2.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])
    for balancer in elbv2.describe_load_balancers()["LoadBalancers"]:
        arn = balancer["LoadBalancerArn"]
        elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn)
        for listener in elbv2.describe_listeners(LoadBalancerArn=arn)["Listeners"]:
            elbv2.describe_rules(ListenerArn=listener["ListenerArn"])
    elbv2.describe_tags(ResourceArns=[g["TargetGroupArn"] for g in _target_groups(elbv2)])
    ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["stopped"]}])
    for vpc in ec2.describe_vpcs()["Vpcs"][:1]:
        ec2.describe_vpc_attribute(VpcId=vpc["VpcId"], Attribute="enableDnsSupport")
    world.client("iam").get_role(RoleName="alone")
    world.client("iam").get_instance_profile(InstanceProfileName="alone")


def _target_groups(elbv2: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = elbv2.describe_target_groups()["TargetGroups"]
    return found


def test_every_answer_is_the_one_that_moto_writes(fleet: VirtualWorld) -> None:
    both, asked = BothWays(), set[str]()
    for service in ASKED:
        fleet.client(service).meta.events.register(
            "before-call", lambda model, service=service, **_: asked.add(f"{service}:{model.name}")
        )
    with both.watching():
        ask(fleet)
    assert both.differences == []
    assert asked == both.compared.keys()


def test_only_listeners_are_left_to_moto(fleet: VirtualWorld) -> None:
    ask(fleet)
    assert fleet.extensions.answers.left_to_moto.keys() == LEFT_TO_MOTO


def test_the_fleet_shows_instances_in_many_states(fleet: VirtualWorld) -> None:
    """Else the comparison above would compare little."""
    found = fleet.client("ec2").describe_instances()["Reservations"]
    states = {i["State"]["Name"] for r in found for i in r["Instances"]}
    assert states >= {"running", "stopped", "terminated"}
    members = fleet.client("autoscaling").describe_auto_scaling_instances()["AutoScalingInstances"]
    assert {m["LifecycleState"] for m in members} >= {"Pending:Wait", "Standby", "InService"}
