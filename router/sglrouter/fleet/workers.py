"""The workers a router knows: their load, their state, and which of them may be chosen.

Pure but for the counters: no I/O, and time is passed in (monotonic seconds).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sglrouter.models import ANY_MODEL, FleetRoute

if TYPE_CHECKING:
    from sglrouter.wire.upstream import Upstream

MAX_FAILED_READS = 3
STALE_S = 3.0
# A worker that failed a request is passed over this long while others are ready; doubles each time.
PENALTY_S, PENALTY_CAP_S = 0.5, 15.0


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker as discovery found it; without an agent the engine's /health stands for it."""

    id: str
    fleet: str
    engine: Address
    agent: Address | None


@dataclass(frozen=True, slots=True)
class Report:
    """What of the agent's state document matters for choosing; `document` is shown to operators."""

    state: str
    queued: int
    engine: Address | None
    document: Mapping[str, Any]


class Worker:
    """One worker. `in_flight` counts this router's requests on it, and nothing else does."""

    __slots__ = (
        "agent",
        "backlog",
        "engine",
        "failed_reads",
        "fleet",
        "host_header",
        "id",
        "idle",
        "in_flight",
        "last_chosen",
        "name",
        "penalty_s",
        "penalty_until",
        "queued",
        "read_at",
        "removed",
        "report",
        "slot",
        "state",
    )

    def __init__(self, seen: Seen, slot: int) -> None:
        self.id = seen.id
        self.slot = slot
        self.name = seen.id.encode()
        self.fleet = seen.fleet
        self.agent = seen.agent
        self.move(seen.engine)
        self.state = "unknown"
        self.report: Report | None = None
        self.read_at = 0.0
        self.failed_reads = 0
        self.in_flight = 0
        self.queued = 0
        self.backlog = 0
        self.last_chosen = 0
        self.penalty_s = 0.0
        self.penalty_until = 0.0
        self.removed = False
        self.idle: list[Upstream] = []

    def move(self, engine: Address) -> None:
        self.engine = engine
        self.host_header = str(engine).encode()

    @property
    def load(self) -> int:
        return self.in_flight + self.queued

    def ready(self, now: float, stale_s: float) -> bool:
        return (
            self.state == "ready"
            and not self.removed
            and self.failed_reads < MAX_FAILED_READS
            and now - self.read_at <= stale_s
        )

    def penalise(self, now: float) -> None:
        self.penalty_s = min(PENALTY_CAP_S, max(PENALTY_S, 2 * self.penalty_s))
        self.penalty_until = now + self.penalty_s

    def forgive(self) -> None:
        self.penalty_s = self.penalty_until = 0.0


class Fleet:
    """One fleet: its workers, and the tuple of those that may be chosen now."""

    __slots__ = ("in_flight", "name", "penalised", "ready", "route")

    def __init__(self, name: str, route: FleetRoute) -> None:
        self.name = name
        self.route = route
        self.ready: tuple[Worker, ...] = ()
        self.penalised = False
        self.in_flight = 0

    def candidates(self, tried: Sequence[Worker], now: float) -> Sequence[Worker]:
        """Workers to choose among: ready, not tried; penalised ones only if there is no other."""
        if not tried and not self.penalised:
            return self.ready
        left = [worker for worker in self.ready if worker not in tried]
        healthy = [worker for worker in left if worker.penalty_until <= now]
        return healthy or left


class WorkerSet:
    """All workers by id, kept by the registrar alone; requests only read `fleets[name].ready`."""

    def __init__(self, fleets: Mapping[str, FleetRoute], stale_s: float = STALE_S) -> None:
        self.fleets = {name: Fleet(name, route) for name, route in fleets.items()}
        self.models = {model: name for name, route in fleets.items() for model in route.models}
        self.any_model = self.models.pop(ANY_MODEL, None)
        self.workers: dict[str, Worker] = {}
        self.stale_s = stale_s

    def apply(self, seen: Iterable[Seen]) -> tuple[list[Worker], list[Worker]]:
        """Make the set what discovery saw; returns (added, removed). Unknown fleets are left out.

        A worker that stays keeps its counters; one whose agent moved is a new one.
        """
        wanted = {item.id: item for item in seen if item.fleet in self.fleets}
        removed = [
            worker
            for worker in self.workers.values()
            if worker.id not in wanted
            or wanted[worker.id].fleet != worker.fleet
            or wanted[worker.id].agent != worker.agent
        ]
        for worker in removed:
            worker.removed = True
            del self.workers[worker.id]
        added = []
        for key, item in wanted.items():
            if key not in self.workers:
                self.workers[key] = worker = Worker(item, self._free_slot())
                added.append(worker)
        return added, removed

    def _free_slot(self) -> int:
        taken = {worker.slot for worker in self.workers.values()}
        return next(slot for slot in itertools.count(1) if slot not in taken)

    def reported(self, worker: Worker, report: Report, now: float) -> None:
        worker.report = report
        worker.state = report.state
        worker.queued = report.queued
        worker.failed_reads = 0
        worker.read_at = now
        if report.engine is not None and report.engine != worker.engine:
            worker.move(report.engine)

    def refresh(self, now: float) -> None:
        """Compute again which workers may be chosen."""
        for fleet in self.fleets.values():
            members = [worker for worker in self.workers.values() if worker.fleet == fleet.name]
            fleet.ready = tuple(worker for worker in members if worker.ready(now, self.stale_s))
            fleet.penalised = any(worker.penalty_until > now for worker in fleet.ready)

    def ready_count(self) -> int:
        return sum(len(fleet.ready) for fleet in self.fleets.values())
