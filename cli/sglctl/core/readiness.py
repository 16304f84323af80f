"""Is the environment able to serve? Pure: from what AWS and the routers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field


@dataclass(frozen=True)
class GroupState:
    """Counts of one Auto Scaling group, or of a fleet's two together.

    `in_service` workers have answered a real request: their launch hook waits for it.
    `warm_ready` instances are prepared in the warm pool, and count as nothing else.
    `returning`: still draining on their way into the pool. `requests`: of those that leave.
    """

    desired: int
    in_service: int
    pending: int = 0
    terminating: int = 0
    warm_ready: int = 0
    returning: int = 0
    requests: int = 0

    def __add__(self, other: GroupState) -> GroupState:
        sums = (a + b for a, b in zip(astuple(self), astuple(other), strict=True))
        return GroupState(*sums)


@dataclass(frozen=True)
class Observation:
    """One look. `ready_workers`: of the router that answered, None when none did.
    `keys_loaded`: whether it has read the API keys (before that it refuses every request)."""

    routers: GroupState
    healthy_routers: int
    fleets: Mapping[str, GroupState]
    ready_workers: int | None
    keys_loaded: bool = True


@dataclass(frozen=True)
class Wanted:
    """`fleets`: least workers of each that must serve. `exact`: fleets that shall have no more
    than those either (after scaling in). `warm`: least prepared instances of a fleet's pool."""

    routers: int
    fleets: Mapping[str, int]
    exact: frozenset[str] = frozenset()
    warm: Mapping[str, int] = field(default_factory=dict)

    @property
    def workers(self) -> int:
        return sum(self.fleets.values())


def missing(seen: Observation, wanted: Wanted) -> list[str]:
    """What is still not there, as short phrases; empty when all is."""
    found = []
    if seen.healthy_routers < wanted.routers:
        found.append(f"{seen.healthy_routers}/{wanted.routers} routers healthy")
    for name, least in wanted.fleets.items():
        state = seen.fleets.get(name, GroupState(0, 0))
        if state.in_service < least:
            pending = f" ({state.pending} starting)" if state.pending else ""
            found.append(f"fleet {name}: {state.in_service}/{least} workers in service{pending}")
        elif name in wanted.exact and (leaving := _leaving(state) - least) > 0:
            load = f" ({state.requests} requests in flight)" if state.requests else ""
            found.append(f"fleet {name}: {leaving} workers still drain{load}")
        if state.warm_ready < wanted.warm.get(name, 0):
            found.append(f"fleet {name}: {state.warm_ready}/{wanted.warm[name]} prepared")
    if seen.ready_workers is None:
        found.append("the endpoint does not answer")
    elif seen.ready_workers < wanted.workers:
        found.append(f"{seen.ready_workers}/{wanted.workers} workers routable")
    if not seen.keys_loaded:
        found.append("a router has not read the API keys yet")
    return found


def _leaving(state: GroupState) -> int:
    """All that serve or have not yet finished what they served."""
    return state.in_service + state.terminating + state.returning
