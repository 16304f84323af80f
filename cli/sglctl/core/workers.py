"""A fleet's workers, and what an operator may do with each. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sglctl.errors import PreconditionError

#: States that have no requests and get none until they move on by themselves.
_NOT_SERVING = frozenset({"booting", "hydrating", "warmed", "failed", "stopped"})
_DRAINS = frozenset({"draining", "drained"})


@dataclass(frozen=True)
class AgentState:
    """`state` is the agent's word; `unreachable` (`reason` says why) or `stopped` (in a warm
    pool) where there is none. None: not known. `cache_hit_rate`: 0 to 1."""

    state: str
    reason: str = ""
    in_flight: int | None = None
    queued: int | None = None
    release: str = ""
    cache_hit_rate: float | None = None
    cut_streams: int | None = None
    drain_deadline: str | None = None


@dataclass(frozen=True)
class Worker:
    """An instance of a fleet's groups, warm pools included. `lifecycle` is Auto Scaling's."""

    instance_id: str
    fleet: str
    group: str
    lifecycle: str
    health: str
    zone: str
    instance_type: str
    agent: AgentState

    @property
    def leaving(self) -> bool:
        return self.lifecycle.startswith("Terminating")

    @property
    def warm(self) -> bool:
        return self.lifecycle.startswith("Warmed")

    @property
    def serves(self) -> bool:
        """Routers choose it for new requests."""
        return self.agent.state == "ready" and not self.leaving


Verdict = Literal["act", "nothing to do", "refuse"]


@dataclass(frozen=True)
class Decision:
    """What becomes of a request about one worker, and why as a phrase ("is drained already")."""

    worker: Worker
    verdict: Verdict
    why: str = ""

    def sentence(self) -> str:
        return f"{self.worker.instance_id} {self.why}"


def choose(workers: Iterable[Worker], ids: Sequence[str], environment: str) -> list[Worker]:
    """The named workers, each once. Raises PreconditionError for an id that is none of theirs."""
    known = {worker.instance_id: worker for worker in workers}
    for wanted in ids:
        if wanted not in known:
            close = difflib.get_close_matches(wanted, known, n=1)
            meant = f"did you mean {close[0]}? " if close else ""
            raise PreconditionError(
                f"{environment} has no worker {wanted}",
                hint=f"{meant}sglctl workers list --env {environment} shows them",
            )
    return [known[name] for name in dict.fromkeys(ids)]


def may_drain(worker: Worker) -> Decision:
    """A drain is asked of a worker that serves or is about to; twice is once."""
    agent = worker.agent
    if agent.state == "draining":
        return Decision(worker, "nothing to do", f"drains already ({load(agent)})")
    if agent.state == "drained":
        return Decision(worker, "nothing to do", "is drained already")
    if agent.state in _NOT_SERVING:
        return Decision(worker, "refuse", f"is {agent.state}: it serves nothing to be drained of")
    return _reachable(worker)


def may_undrain(worker: Worker) -> Decision:
    """Only what is not on its way out can come back."""
    agent = worker.agent
    if worker.leaving:
        return Decision(
            worker, "refuse", f"is being terminated ({worker.lifecycle}); that is not undone"
        )
    if agent.state in _NOT_SERVING:
        return Decision(worker, "refuse", f"is {agent.state}, not draining")
    if agent.state not in _DRAINS and agent.state != "unreachable":
        return Decision(worker, "nothing to do", f"is {agent.state}, not draining")
    return _reachable(worker)


def may_terminate(worker: Worker) -> Decision:
    """A drain that is on is no obstacle: the termination's joins it."""
    if worker.leaving:
        said = f"is being terminated already ({worker.lifecycle}, {load(worker.agent)})"
        return Decision(worker, "nothing to do", said)
    if worker.warm:
        return Decision(worker, "refuse", "is in the warm pool, whose size decides")
    return Decision(worker, "act")


def _reachable(worker: Worker) -> Decision:
    if worker.agent.state == "unreachable":
        return Decision(worker, "refuse", f"does not answer: {worker.agent.reason}")
    return Decision(worker, "act")


def without_ready(workers: Iterable[Worker], chosen: Iterable[Worker]) -> list[str]:
    """Fleets that serve now, and would have no ready worker without the chosen ones."""
    found, going = list(workers), {worker.instance_id for worker in chosen}
    serving = {worker.fleet for worker in found if worker.serves}
    left = {w.fleet for w in found if w.serves and w.instance_id not in going}
    return sorted(serving - left)


def load(agent: AgentState) -> str:
    """`3 in flight, 1 queued`"""
    if agent.in_flight is None:
        return "load unknown"
    return f"{agent.in_flight} in flight, {agent.queued} queued"
