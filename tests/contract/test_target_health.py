"""Target groups tell the truth about their targets."""

from __future__ import annotations

from typing import Any


def target_group(cloud: Any, **given: Any) -> str:
    """A target group behind a load balancer."""
    elbv2 = cloud.client("elbv2")
    subnets = cloud.subnets()
    arguments = {"HealthCheckPath": "/health", "HealthCheckIntervalSeconds": 5, **given}
    group = elbv2.create_target_group(
        Name="router", Protocol="HTTP", Port=8000, VpcId=cloud.vpc, **arguments
    )["TargetGroups"][0]["TargetGroupArn"]
    balancer = elbv2.create_load_balancer(Name="router", Subnets=subnets)["LoadBalancers"][0]
    action = {"Type": "forward", "TargetGroupArn": group}
    elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=1,  # served at 8001 or not at all: these cases do not connect
        DefaultActions=[action],
    )
    cloud.subnet_ids = subnets
    return str(group)


def health(cloud: Any, group: str) -> dict[str, str]:
    answer = cloud.client("elbv2").describe_target_health(TargetGroupArn=group)
    return {
        d["Target"]["Id"]: d["TargetHealth"]["State"] for d in answer["TargetHealthDescriptions"]
    }


def serving(cloud: Any, group: str, **given: Any) -> Any:
    return cloud.group(
        TargetGroupARNs=[group], VPCZoneIdentifier=",".join(cloud.subnet_ids), **given
    )


def test_a_target_is_initial_until_its_health_check_passes(cloud: Any) -> None:
    group = target_group(cloud)
    cloud.driver.answers = {"10.40.0.4": 503, "10.40.1.4": 503}
    describe = serving(cloud, group)
    instance_id = cloud.settle(describe, 1)[0]
    assert health(cloud, group) == {instance_id: "initial"}
    cloud.driver.answers.clear()
    cloud.until(lambda: health(cloud, group) == {instance_id: "healthy"})


def test_a_target_that_fails_becomes_unhealthy_and_is_replaced(cloud: Any) -> None:
    group = target_group(cloud, UnhealthyThresholdCount=2)
    describe = serving(cloud, group, HealthCheckType="ELB", HealthCheckGracePeriod=0)
    first = cloud.settle(describe, 1)[0]
    cloud.until(lambda: health(cloud, group) == {first: "healthy"})
    cloud.driver.answers = dict.fromkeys(
        (spec.address for spec in cloud.driver.specs.values()), None
    )
    make_checks_due(cloud)
    cloud.until(lambda: first not in {i["InstanceId"] for i in describe()["Instances"]})
    assert health(cloud, group).get(first) != "healthy"


def make_checks_due(cloud: Any) -> None:
    """Do not wait for the interval of five seconds."""
    if cloud.daemon is None:
        return
    elbv2 = cloud.daemon.emulator.elbv2
    with cloud.daemon.emulator.lock:
        for group in elbv2.target_groups.values():
            group.health_check_interval_seconds = 0.1
            for known in group.sgl_health.values():
                known.next_at = 0.0


def test_a_terminated_instance_is_no_target(cloud: Any) -> None:
    group = target_group(cloud)
    describe = serving(cloud, group)
    instance_id = cloud.settle(describe, 1)[0]
    cloud.until(lambda: health(cloud, group) == {instance_id: "healthy"})
    cloud.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName="workers", DesiredCapacity=0
    )
    cloud.until(lambda: cloud.states(describe) == [])
    assert health(cloud, group) == {}


def test_a_deregistered_target_drains(cloud: Any) -> None:
    group = target_group(cloud)
    describe = serving(cloud, group)
    instance_id = cloud.settle(describe, 1)[0]
    cloud.client("elbv2").deregister_targets(TargetGroupArn=group, Targets=[{"Id": instance_id}])
    assert health(cloud, group) == {instance_id: "draining"}


def test_an_instance_with_open_streams_leaves_when_they_end(sglocal: Any) -> None:
    group = target_group(sglocal)
    describe = serving(sglocal, group)
    instance_id = sglocal.settle(describe, 1)[0]
    streams = {instance_id: 1}
    sglocal.daemon.emulator.open_sessions = lambda i: streams.get(i, 0)
    sglocal.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName="workers", DesiredCapacity=0
    )
    sglocal.until(lambda: health(sglocal, group) == {instance_id: "draining"})
    assert sglocal.instance_state(instance_id) == "running"
    streams.clear()
    sglocal.until(lambda: sglocal.states(describe) == [])
