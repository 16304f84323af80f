"""The lifecycle of an instance in a group, as a table: pure.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pool-instance-lifecycle.html
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """LifecycleState of an instance; `Terminated`, `Detached` and their like are never stored."""

    PENDING = "Pending"
    PENDING_WAIT = "Pending:Wait"
    PENDING_PROCEED = "Pending:Proceed"
    IN_SERVICE = "InService"
    ENTERING_STANDBY = "EnteringStandby"
    STANDBY = "Standby"
    DETACHING = "Detaching"
    DETACHED = "Detached"
    TERMINATING = "Terminating"
    TERMINATING_WAIT = "Terminating:Wait"
    TERMINATING_PROCEED = "Terminating:Proceed"
    TERMINATED = "Terminated"
    WARMED_PENDING = "Warmed:Pending"
    WARMED_PENDING_WAIT = "Warmed:Pending:Wait"
    WARMED_PENDING_PROCEED = "Warmed:Pending:Proceed"
    WARMED_STOPPED = "Warmed:Stopped"
    WARMED_RUNNING = "Warmed:Running"
    WARMED_HIBERNATED = "Warmed:Hibernated"
    WARMED_TERMINATING = "Warmed:Terminating"
    WARMED_TERMINATING_WAIT = "Warmed:Terminating:Wait"
    WARMED_TERMINATING_PROCEED = "Warmed:Terminating:Proceed"
    WARMED_TERMINATED = "Warmed:Terminated"


class Event(StrEnum):
    """What moves an instance from one state to the next."""

    HOLD = "hooks of the transition wait for their completion"
    PROCEED = "the hooks' wait is over"
    SERVE = "the instance runs and may serve"
    TERMINATE = "the group takes the instance out for good"
    GONE = "the instance has ended"
    ENTER_STANDBY = "EnterStandby"
    ON_STANDBY = "its connections are drained"
    EXIT_STANDBY = "ExitStandby"
    DETACH = "DetachInstances"
    DETACHED = "the group has let the instance go"
    TO_POOL = "scale-in returns the instance to the warm pool"
    STOPPED = "the warm instance is stopped"
    KEPT_RUNNING = "the warm instance is left running"
    HIBERNATED = "the warm instance hibernates"
    FROM_POOL = "scale-out takes the instance out of the warm pool"


class TransitionError(Exception):
    """An event that its state does not know."""


LAUNCHING = (State.PENDING, State.PENDING_WAIT, State.PENDING_PROCEED)
# What counts towards the desired capacity.
ACTIVE = (*LAUNCHING, State.IN_SERVICE)
TERMINATING = (State.TERMINATING, State.TERMINATING_WAIT, State.TERMINATING_PROCEED)
WARMING = (State.WARMED_PENDING, State.WARMED_PENDING_WAIT, State.WARMED_PENDING_PROCEED)
WARMED = (State.WARMED_STOPPED, State.WARMED_RUNNING, State.WARMED_HIBERNATED)
WARMED_TERMINATING = (
    State.WARMED_TERMINATING,
    State.WARMED_TERMINATING_WAIT,
    State.WARMED_TERMINATING_PROCEED,
)
LEAVING = (*TERMINATING, *WARMED_TERMINATING)

_TABLE: dict[tuple[State, Event], State] = {
    (State.PENDING, Event.HOLD): State.PENDING_WAIT,
    (State.PENDING_WAIT, Event.PROCEED): State.PENDING_PROCEED,
    (State.PENDING, Event.SERVE): State.IN_SERVICE,
    (State.PENDING_PROCEED, Event.SERVE): State.IN_SERVICE,
    (State.IN_SERVICE, Event.ENTER_STANDBY): State.ENTERING_STANDBY,
    (State.ENTERING_STANDBY, Event.ON_STANDBY): State.STANDBY,
    (State.STANDBY, Event.EXIT_STANDBY): State.PENDING,
    (State.IN_SERVICE, Event.DETACH): State.DETACHING,
    (State.STANDBY, Event.DETACH): State.DETACHING,
    (State.DETACHING, Event.DETACHED): State.DETACHED,
    (State.TERMINATING, Event.HOLD): State.TERMINATING_WAIT,
    (State.TERMINATING_WAIT, Event.PROCEED): State.TERMINATING_PROCEED,
    (State.WARMED_PENDING, Event.HOLD): State.WARMED_PENDING_WAIT,
    (State.WARMED_PENDING_WAIT, Event.PROCEED): State.WARMED_PENDING_PROCEED,
    (State.WARMED_TERMINATING, Event.HOLD): State.WARMED_TERMINATING_WAIT,
    (State.WARMED_TERMINATING_WAIT, Event.PROCEED): State.WARMED_TERMINATING_PROCEED,
    (State.IN_SERVICE, Event.TO_POOL): State.WARMED_PENDING,
}
for _state in (*ACTIVE, State.ENTERING_STANDBY, State.STANDBY, State.DETACHING):
    _TABLE[_state, Event.TERMINATE] = State.TERMINATING
for _state in (State.WARMED_PENDING, State.WARMED_PENDING_PROCEED):
    _TABLE[_state, Event.STOPPED] = State.WARMED_STOPPED
    _TABLE[_state, Event.KEPT_RUNNING] = State.WARMED_RUNNING
    _TABLE[_state, Event.HIBERNATED] = State.WARMED_HIBERNATED
for _state in WARMED:
    _TABLE[_state, Event.FROM_POOL] = State.PENDING
for _state in (*WARMING, *WARMED):
    _TABLE[_state, Event.TERMINATE] = State.WARMED_TERMINATING
for _state in TERMINATING:
    _TABLE[_state, Event.GONE] = State.TERMINATED
for _state in WARMED_TERMINATING:
    _TABLE[_state, Event.GONE] = State.WARMED_TERMINATED

_WARM_EVENTS = {
    "Stopped": Event.STOPPED,
    "Running": Event.KEPT_RUNNING,
    "Hibernated": Event.HIBERNATED,
}


def after(state: str, event: Event) -> State:
    """The state that follows. Raises TransitionError."""
    try:
        return _TABLE[State(state), event]
    except KeyError:
        raise TransitionError(f"{state}: {event}") from None


def knows(state: str, event: Event) -> bool:
    """Whether the event can happen in this state."""
    return (State(state), event) in _TABLE


def warm_event(pool_state: str) -> Event:
    """What ends the warming up for a pool of this state (Stopped, Running, Hibernated)."""
    return _WARM_EVENTS[pool_state]


def target(state: str, pool_state: str = "Stopped") -> str:
    """`autoscaling/target-lifecycle-state`: the steady state that the instance moves to.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html
    """
    known = State(state)
    if known in ACTIVE:
        return State.IN_SERVICE
    if known in (State.ENTERING_STANDBY, State.STANDBY):
        return State.STANDBY
    if known in (State.DETACHING, State.DETACHED):
        return State.DETACHED
    if known in WARMING:
        return f"Warmed:{pool_state}"
    if known in WARMED:
        return known
    warm = known in (*WARMED_TERMINATING, State.WARMED_TERMINATED)
    return State.WARMED_TERMINATED if warm else State.TERMINATED
