"""Descriptions and causes of scaling activities, worded like AWS's: pure.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-verify-scaling-activity.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-health-checks.html
"""

from __future__ import annotations

from datetime import datetime

_HEALTH = {
    "EC2": "an EC2 health check indicating it has been terminated or stopped",
    "ELB": "an ELB system health check failure",
    "user": "a user health-check",
}
PROTECTED = (
    "Could not scale to desired capacity because all remaining instances are protected "
    "from scale-in."
)


def stamp(now: datetime) -> str:
    """The time as causes write it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def created(now: datetime, desired: int) -> str:
    return (
        f"At {stamp(now)} a user request created an AutoScalingGroup changing the desired "
        f"capacity from 0 to {desired}."
    )


def explicitly_set(now: datetime, before: int, desired: int) -> str:
    return (
        f"At {stamp(now)} a user request explicitly set group desired capacity changing the "
        f"desired capacity from {before} to {desired}."
    )


def triggered(now: datetime, alarm: str, state: str, policy: str, before: int, desired: int) -> str:
    return (
        f"At {stamp(now)} a monitor alarm {alarm} in state {state} triggered policy {policy} "
        f"changing the desired capacity from {before} to {desired}."
    )


def executed(now: datetime, policy: str, before: int, desired: int) -> str:
    return (
        f"At {stamp(now)} a user request executed policy {policy} changing the desired capacity "
        f"from {before} to {desired}."
    )


def updated(now: datetime, minimum: int, maximum: int, before: int, desired: int) -> str:
    return (
        f"At {stamp(now)} a user request update of AutoScalingGroup constraints to min: {minimum}, "
        f"max: {maximum}, desired: {desired} changing the desired capacity from {before} "
        f"to {desired}."
    )


def started(now: datetime, size: int) -> str:
    return (
        f"At {stamp(now)} an instance was started in response to a difference between desired "
        f"and actual capacity, increasing the capacity from {size} to {size + 1}."
    )


def started_warm(now: datetime, size: int) -> str:
    return (
        f"At {stamp(now)} an instance was started in response to a difference between desired "
        f"and actual warm pool capacity, increasing the warm pool capacity from {size} "
        f"to {size + 1}."
    )


def balanced(now: datetime, zone: str) -> str:
    return (
        f"At {stamp(now)} instances were launched to balance instances in zones {zone} with other "
        "zones resulting in more than desired number of instances in the group."
    )


def shrunk(now: datetime, size: int, instance_id: str) -> str:
    at = stamp(now)
    return (
        f"At {at} an instance was taken out of service in response to a difference between "
        f"desired and actual capacity, shrinking the capacity from {size} to {size - 1}.  "
        f"At {at} instance {instance_id} was selected for termination."
    )


def pool_shrunk(now: datetime, size: int) -> str:
    return (
        f"At {stamp(now)} an instance was taken out of the warm pool in response to a difference "
        f"between desired and actual warm pool capacity, shrinking the warm pool capacity "
        f"from {size} to {size - 1}."
    )


def unhealthy(now: datetime, by: str) -> str:
    return f"At {stamp(now)} an instance was taken out of service in response to {_HEALTH[by]}."


def at_risk(now: datetime, instance_id: str) -> str:
    """In our words: AWS's sentence is not published."""
    return (
        f"At {stamp(now)} instance {instance_id} was taken out of service in response to an EC2 "
        "instance rebalance recommendation."
    )


def refreshed(now: datetime, instance_id: str) -> str:
    return (
        f"At {stamp(now)} instance {instance_id} was taken out of service in response to an "
        "instance refresh."
    )


def user_request(now: datetime, instance_id: str, shrinking: tuple[int, int] | None) -> str:
    change = f", shrinking the capacity from {shrinking[0]} to {shrinking[1]}" if shrinking else ""
    return (
        f"At {stamp(now)} instance {instance_id} was taken out of service in response to a user "
        f"request{change}."
    )


def abandoned(now: datetime, instance_id: str) -> str:
    return (
        f"At {stamp(now)} instance {instance_id} was taken out of service in response to its "
        "launch being abandoned."
    )


def moved(now: datetime, instance_id: str, where: str, before: int, after: int) -> str:
    """Standby and detaching: `where` is `moved to standby`, `moved out of standby`, `detached`."""
    change = ""
    if after != before:
        word = "increasing" if after > before else "shrinking"
        change = f", {word} the capacity from {before} to {after}"
    return (
        f"At {stamp(now)} instance {instance_id} was {where} in response to a user request{change}."
    )


def lifecycle_failure(token: str, ending: str) -> str:
    """StatusMessage of a launch whose hook gave it up."""
    return (
        "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token "
        f"{token} was abandoned: {ending}"
    )
