"""Wait until a fleet is as large as it was scaled to: routable, or drained and gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sglctl.aws.fleet_state import groups, with_warm
from sglctl.core.readiness import GroupState, Observation, Wanted
from sglctl.core.workers import Worker
from sglctl.operations import wait
from sglctl.operations.display import live
from sglctl.operations.workers import Fleets, agent_states, workers_of

#: Beyond the drain's own deadline: hooks, and the instance's end.
_GRACE_S = 120.0
_SERVED = frozenset({"ready", "draining", "drained"})


def until_scaled(
    fleets: Fleets, fleet: str, count: int, warm: int, timeout_s: float | None
) -> GroupState:
    """`count` workers serve, no other drains any more, `warm` are prepared at least.

    Raises WaitTimeoutError; without `timeout_s` after two launches, or a drain's deadline.
    """
    now = wait.observe(fleets.context, fleets.desired, fleets.session)
    # Other fleets count as they are: the routers report one number for all.
    others = {name: state.in_service for name, state in now.fleets.items() if name != fleet}
    wanted = Wanted(
        now.healthy_routers, {**others, fleet: count}, frozenset({fleet}), {fleet: warm}
    )
    longest = max(wait.launch_deadline_s(fleets.desired), fleets.drain_deadline_s(fleet) + _GRACE_S)
    with live(f"Waiting for {count} routable workers") as line:
        seen = wait.until_serving(
            lambda: _observe(fleets, fleet),
            wanted,
            timeout_s=timeout_s or longest,
            line=line,
            why=wait.failure_of(fleets.context, fleets.session),
            blocked=wait.obstacle_of(fleets.context, fleets.session),
        )
    return seen.fleets[fleet]


def _observe(fleets: Fleets, fleet: str) -> Observation:
    """One look, with the warm pools, and with what agents on their way out still do."""
    context, session = fleets.context, fleets.session
    found = with_warm(session, groups(session, context.environment))
    seen = wait.observe_groups(context, fleets.desired, session, found)
    leaving = [worker for worker in workers_of(found) if worker.fleet == fleet and _moves(worker)]
    agents = agent_states(fleets.commands, [worker.instance_id for worker in leaving])
    asked = [replace(worker, agent=agents[worker.instance_id]) for worker in leaving]
    return replace(seen, fleets={**seen.fleets, fleet: with_leaving(seen.fleets[fleet], asked)})


def _moves(worker: Worker) -> bool:
    return worker.leaving or worker.lifecycle.startswith("Warmed:Pending")


def with_leaving(state: GroupState, leaving: Sequence[Worker]) -> GroupState:
    """Auto Scaling calls both Warmed:Pending, what is prepared and what comes back: an agent
    that is prepared never was in a state of serving. Pure."""
    loads = ((worker.agent.in_flight or 0) + (worker.agent.queued or 0) for worker in leaving)
    back = sum(worker.warm and worker.agent.state in _SERVED for worker in leaving)
    return replace(state, returning=back, requests=sum(loads))
