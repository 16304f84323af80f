"""The workers a router knows: their load, their state, and which of them may be chosen.

Pure but for the counters: no I/O, and time is passed in (monotonic seconds).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sglrouter.fleet.fleets import Fleet
from sglrouter.models import ANY_MODEL, FleetRoute
from sglrouter.models import Breaker as BreakerSettings
from sglrouter.serving.breaker import Breaker
from sglrouter.serving.target import Target

MAX_FAILED_READS = 3
STALE_S = 3.0
# Of a worker without an agent: the interval and the timeout of probing its /health, and a little.
PROBE_STALE_S = 22.0
# So long the last word of ready workers counts when every worker has fallen silent: then it is this
# router that cannot see (it was not scheduled, or is cut off), and to refuse all would be worse.
# https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold
BLIND_S = 30.0
# Policies keep what they know by slot and sweep it up in this time, before another has the slot.
RETIRE_S = 60.0


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker as discovery found it; without an agent the engine's /health stands for it,
    and `role` and `bootstrap_port` are what discovery was told.

    `told_fleet`: what its agent calls its fleet, where that is another: prefill workers have a
    group of their own, and serve in the place of their decode fleet. Empty: `fleet`.
    """

    id: str
    fleet: str
    engine: Address
    agent: Address | None
    role: str = "regular"
    bootstrap_port: int | None = None
    told_fleet: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What of the agent's state document matters for choosing; `document` is shown to operators."""

    state: str
    queued: int
    engine: Address | None
    document: Mapping[str, Any]


class Worker(Target):
    """One worker. `others`: requests on it that are not this process's, as last reported."""

    __slots__ = (
        "_own_before",
        "adapters",
        "agent",
        "bootstrap_port",
        "breaker",
        "drained_here",
        "failed_reads",
        "fleet",
        "id",
        "queued",
        "read_at",
        "report",
        "role",
        "state",
        "told_fleet",
    )

    def __init__(self, seen: Seen, slot: int, breaker: BreakerSettings | None = None) -> None:
        super().__init__(seen.id.encode(), seen.engine)
        self.id = seen.id
        self.slot = slot
        self.fleet = seen.fleet
        self.told_fleet = seen.told_fleet or seen.fleet
        self.agent = seen.agent
        self.role = seen.role
        self.bootstrap_port = seen.bootstrap_port
        self.adapters: frozenset[str] = frozenset()
        self.state = "unknown"
        self.report: Report | None = None
        self.read_at = 0.0
        self.drained_here = False  # an operator told this router to choose it no more
        self.failed_reads = 0
        self.queued = 0
        self.others = 0
        self.backlog = 0
        self.last_chosen = 0
        self.breaker = Breaker(breaker or BreakerSettings())
        self._own_before = 0

    @property
    def engine(self) -> Address:
        return self.address

    def ready(self, now: float, stale_s: float) -> bool:
        return (
            self.state == "ready"
            and not self.removed
            and not self.drained_here
            and self.failed_reads < MAX_FAILED_READS
            and now - self.read_at <= (stale_s if self.agent else max(stale_s, PROBE_STALE_S))
        )

    def heard(self, now: float, stale_s: float) -> bool:
        """Whether its agent has just spoken."""
        return self.agent is not None and not self.failed_reads and now - self.read_at <= stale_s

    def last_ready(self, now: float) -> bool:
        """Whether its agent's last word, not too long ago, was `ready`."""
        told = self.agent is not None and self.state == "ready" and now - self.read_at <= BLIND_S
        return told and not self.removed and not self.drained_here

    def take(self, report: Report) -> None:
        """The agent's news. Its counts may be a read old, so own requests of then are taken off."""
        self.report = report
        self.state = report.state
        self.queued = report.queued
        told = report.document
        own = max(self.in_flight, self._own_before)
        self._own_before = self.in_flight
        self.others = max(0, int(told.get("in_flight") or 0) + report.queued - own)
        if told:
            self.role = told.get("role") or self.role
            self.bootstrap_port = told.get("bootstrap_port") or self.bootstrap_port
            self.adapters = frozenset(told.get("adapters") or ())
        if report.engine is not None and report.engine != self.address:
            self.move(report.engine)


class WorkerSet:
    """All workers by id, kept by the registrar alone; requests only read `fleets[name].ready`."""

    def __init__(self, fleets: Mapping[str, FleetRoute], stale_s: float = STALE_S) -> None:
        self.fleets: dict[str, Fleet] = {}
        self.workers: dict[str, Worker] = {}
        self.stale_s = stale_s
        self._now = 0.0
        self._drained: set[str] = set()  # ids: a worker that was lost and found stays drained
        self._retired: dict[int, float] = {}  # slot → when it may be given again
        self.configure(fleets)

    def configure(self, fleets: Mapping[str, FleetRoute]) -> list[Fleet]:
        """Take a document's fleets; returns those that are gone. The others keep their counters.

        The workers of a fleet that is gone leave with the next `apply`.
        """
        gone = [fleet for name, fleet in self.fleets.items() if name not in fleets]
        kept = {name: self.fleets.get(name) or Fleet(name, fleets[name]) for name in fleets}
        self.fleets = kept
        for name, fleet in kept.items():
            fleet.configure(fleets[name])
        for worker in self.workers.values():
            if worker.fleet in fleets:
                worker.breaker.configure(fleets[worker.fleet].breaker)
        self.models = {model: name for name, route in fleets.items() for model in route.models}
        self.any_model = self.models.pop(ANY_MODEL, None)
        self.served: dict[str | None, Fleet] = {m: kept[name] for m, name in self.models.items()}
        return gone

    def apply(
        self, seen: Iterable[Seen], slots: Mapping[str, int] | None = None
    ) -> tuple[list[Worker], list[Worker]]:
        """Make the set what discovery saw; returns (added, removed). Unknown fleets are left out.

        A worker that stays keeps its counters; one whose agent moved is a new one.
        `slots`: the slot of each id, where another process gives them.
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
            self._retired[worker.slot] = self._now + RETIRE_S
            del self.workers[worker.id]
        added = []
        for key, item in wanted.items():
            if key not in self.workers:
                slot = slots[key] if slots is not None else self._free_slot()
                breaker = self.fleets[item.fleet].route.breaker
                self.workers[key] = worker = Worker(item, slot, breaker)
                worker.drained_here = key in self._drained
                added.append(worker)
        return added, removed

    def drain_here(self, worker: Worker, drained: bool) -> None:
        """Choose the worker no more, or again; from the next `refresh` on."""
        worker.drained_here = drained
        (self._drained.add if drained else self._drained.discard)(worker.id)

    def _free_slot(self) -> int:
        self._retired = {slot: t for slot, t in self._retired.items() if t > self._now}
        taken = {worker.slot for worker in self.workers.values()} | self._retired.keys()
        return next(slot for slot in itertools.count(1) if slot not in taken)

    def reported(self, worker: Worker, report: Report, now: float) -> None:
        worker.take(report)
        worker.failed_reads = 0
        worker.read_at = now

    def refresh(self, now: float) -> None:
        """Compute again which workers may be chosen."""
        self._now = now
        members: dict[str, list[Worker]] = {name: [] for name in self.fleets}
        for worker in self.workers.values():
            if worker.fleet in members:
                members[worker.fleet].append(worker)
        for name, fleet in self.fleets.items():
            fleet.refresh(members[name], now, self.stale_s)

    def ready_count(self) -> int:
        return sum(len(fleet.ready) for fleet in self.fleets.values())
