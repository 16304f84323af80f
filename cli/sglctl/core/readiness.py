"""Is the environment able to serve? Pure: from what AWS and the routers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class GroupState:
    """Counts of one Auto Scaling group, or of a fleet's two together.

    `in_service` workers have answered a real request: their launch hook waits for it.
    """

    desired: int
    in_service: int
    pending: int = 0
    terminating: int = 0

    def __add__(self, other: GroupState) -> GroupState:
        return GroupState(
            self.desired + other.desired,
            self.in_service + other.in_service,
            self.pending + other.pending,
            self.terminating + other.terminating,
        )


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
    than those either (after scaling in)."""

    routers: int
    fleets: Mapping[str, int]
    exact: frozenset[str] = frozenset()

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
        elif name in wanted.exact and state.in_service + state.terminating > least:
            leaving = state.in_service + state.terminating - least
            found.append(f"fleet {name}: {leaving} workers still drain")
    if seen.ready_workers is None:
        found.append("the endpoint does not answer")
    elif seen.ready_workers < wanted.workers:
        found.append(f"{seen.ready_workers}/{wanted.workers} workers routable")
    if not seen.keys_loaded:
        found.append("a router has not read the API keys yet")
    return found
