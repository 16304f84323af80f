"""Wait until an environment serves, with live progress, a deadline, and the reason at its end."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sglctl import local
from sglctl.aws.fleet_state import (
    FailedActivity,
    Group,
    by_fleet,
    groups,
    last_failure,
    target_health,
)
from sglctl.aws.session import Session
from sglctl.config.desired import Desired
from sglctl.context import Context
from sglctl.core.readiness import GroupState, Observation, Wanted, missing
from sglctl.errors import LocalError, PreconditionError, WaitTimeoutError
from sglctl.operations.display import Line
from sglctl.operations.target import endpoint_url

_POLL_S = 1.0
_HEALTH_TIMEOUT_S = 5.0
#: How long something that does not pass by itself (a port taken) is tolerated.
_BLOCKED_S = 15.0

_AGAIN = "checking once more"

Clock = Callable[[], float]


@dataclass(frozen=True)
class Endpoint:
    """`ca_file`: whom to trust where the certificate is not a public one's."""

    url: str
    ca_file: Path | None = None


def find_endpoint(context: Context, desired: Desired, session: Session) -> Endpoint | None:
    """The load balancer's URL; None while it is not served yet."""
    try:
        return Endpoint(*endpoint_url(context, desired, session))
    except PreconditionError:
        return None


def observe(context: Context, desired: Desired, session: Session) -> Observation:
    """One look at groups, targets and a router's health."""
    return observe_groups(context, desired, session, groups(session, context.environment))


def observe_groups(
    context: Context, desired: Desired, session: Session, found: Sequence[Group]
) -> Observation:
    """The same, of groups that were read already."""
    environment, endpoint = context.environment, find_endpoint(context, desired, session)
    targets = target_health(session, environment)
    routers = [group.state for group in found if group.fleet is None]
    health = router_health(endpoint) if endpoint else None
    return Observation(
        routers=sum(routers, GroupState(0, 0)),
        healthy_routers=sum(state == "healthy" for state, _ in targets.values()),
        fleets=by_fleet(found),
        ready_workers=health.ready_workers if health else None,
        keys_loaded=health.keys_loaded if health else True,
    )


@dataclass(frozen=True)
class RouterHealth:
    """What a router's `/health` says."""

    ready_workers: int
    keys_loaded: bool


def router_health(endpoint: Endpoint) -> RouterHealth | None:
    """What the router behind the load balancer says; None when no router answers.

    A router without workers answers 503, and still counts (zero).
    """
    import httpx

    verify: ssl.SSLContext | bool = True
    if endpoint.ca_file is not None:
        verify = ssl.create_default_context(cafile=str(endpoint.ca_file))
    loopback = endpoint.url.split("//", 1)[-1].startswith("127.")
    try:
        with httpx.Client(
            verify=verify, timeout=_HEALTH_TIMEOUT_S, trust_env=not loopback
        ) as client:
            said = client.get(f"{endpoint.url}/health").json()
            return RouterHealth(int(said["ready_workers"]), bool(said.get("keys_loaded", True)))
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


def until_serving(
    look: Callable[[], Observation],
    wanted: Wanted,
    *,
    timeout_s: float,
    line: Line,
    why: Callable[[], str | None],
    blocked: Callable[[], str | None] = lambda: None,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Observation:
    """Look until nothing is missing, once for every router in a row (each counts for itself).

    Raises WaitTimeoutError that names what is missing and the last failure AWS reported, and
    LocalError when `blocked` keeps naming an obstacle that waiting does not remove.
    """
    deadline, in_a_row = clock() + timeout_s, 0
    free_at = clock()
    while True:
        seen = look()
        lacking = missing(seen, wanted)
        in_a_row = 0 if lacking else in_a_row + 1
        if in_a_row >= max(1, wanted.routers):
            return seen
        obstacle = blocked() if lacking else None
        if obstacle is None:
            free_at = clock()
        elif clock() - free_at >= _BLOCKED_S:
            raise LocalError(obstacle, hint="then run the command again: it goes on from here")
        line.update("; ".join([*lacking, *([obstacle] if obstacle else [])]) or _AGAIN)
        if clock() >= deadline:
            reason = why()
            raise WaitTimeoutError(
                f"not serving after {timeout_s:.0f} s: {'; '.join(lacking)}"
                + (f"; the last failure: {reason}" if reason else ""),
                hint="sglctl status shows every worker; running the command again goes on",
            )
        sleep(_POLL_S if lacking else 0.05)


def wanted_at_least(desired: Desired) -> Wanted:
    """After a deploy: every router, and each fleet's minimum (one, if any is desired)."""
    environment = desired.environment
    return Wanted(
        routers=environment.router.count,
        fleets={
            name: max(fleet.capacity.min, min(1, fleet.capacity.desired))
            for name, fleet in environment.fleets.items()
        },
    )


def launch_deadline_s(desired: Desired) -> float:
    """The slowest fleet's launch, twice: an instance may be replaced once."""
    slowest = max(fleet.launch_timeout_s for fleet in desired.environment.fleets.values())
    return 2.0 * slowest


def failure_of(context: Context, session: Session) -> Callable[[], str | None]:
    """For `until_serving`: asked only when the deadline has passed."""

    def why() -> str | None:
        found = groups(session, context.environment)
        failed = last_failure(session, [group.name for group in found])
        if failed is None:
            return None
        roles = {group.name: group.role for group in found}
        return told(failed, roles[failed.group], context.environment, emulated=session.emulated)

    return why


def told(failed: FailedActivity, role: str, environment: str, *, emulated: bool) -> str:
    """What failed, and the command that shows what the instance itself said. Pure."""
    text = f"{failed.group}: {failed.reason}"
    if failed.instance_id is None:
        return text
    log = f"sglctl local logs --env {environment} {failed.instance_id}"
    if not emulated:
        log = f"aws logs tail /sglctl/{environment}/{role} --log-stream-names {failed.instance_id}"
    return f"{text} (what {failed.instance_id} said: {log})"


def obstacle_of(context: Context, session: Session) -> Callable[[], str | None]:
    """For `until_serving`: what the emulator says it cannot do (a port that is taken)."""

    def blocked() -> str | None:
        return "; ".join(local.status(context).get("errors", [])) or None

    return blocked if session.emulated else lambda: None
