"""What parent and data processes tell each other, computed. Pure but for the counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sglrouter.fleet.workers import Seen
from sglrouter.models import FleetRoute, RouterDocument
from sglrouter.serving.core import Router
from sglrouter.shared import Others, View, WorkerRow


def _part(bound: int, processes: int) -> int:
    return -(-bound // processes)


def _share_of_fleet(route: FleetRoute, processes: int) -> FleetRoute:
    bound = route.max_in_flight
    size = _part(route.queue.size, processes)
    return route.model_copy(
        update={
            "max_in_flight": None if bound is None else _part(bound, processes),
            "max_in_flight_per_worker": _part(route.max_in_flight_per_worker, processes),
            "queue": route.queue.model_copy(update={"size": size}),
        }
    )


def share_of(document: RouterDocument, processes: int) -> RouterDocument:
    """The document of one data process: bounds on requests are divided, rounded up."""
    fleets = {name: _share_of_fleet(route, processes) for name, route in document.fleets.items()}
    return document.model_copy(update={"fleets": fleets})


class Sums:
    """Keeps the parent's workers and fleets at the sum of what the data processes report."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self._workers: dict[int, dict[str, int]] = {}
        self._fleets: dict[int, dict[str, int]] = {}

    def on_worker(self, process: int, worker: str) -> int:
        """Requests of one process on a worker."""
        return self._workers.get(process, {}).get(worker, 0)

    def take(self, process: int, dump: Mapping[str, list[list[Any]]]) -> None:
        """A process's numbers. Those that the parent's own objects hold are not counted twice."""
        metrics, left = self.router.metrics, dict(dump)
        on_workers = left.pop(metrics.gauges.worker_in_flight.name, [])
        in_fleets = left.pop(metrics.gauges.in_flight.name, [])
        self._workers[process] = {worker: int(n) for (_, worker), n in on_workers}
        self._fleets[process] = {fleet: int(n) for (fleet,), n in in_fleets}
        metrics.others[process] = left
        self._add_up()

    def ended(self, process: int) -> None:
        """Nothing of it runs any more; what it counted stays counted."""
        self._workers.pop(process, None)
        self._fleets.pop(process, None)
        self.router.metrics.ended(process)
        self._add_up()

    def _add_up(self) -> None:
        workers = self.router.workers
        for worker in workers.workers.values():
            worker.in_flight = sum(rows.get(worker.id, 0) for rows in self._workers.values())
        for fleet in workers.fleets.values():
            fleet.in_flight = sum(rows.get(fleet.name, 0) for rows in self._fleets.values())


def others_of(router: Router, sums: Sums, process: int) -> Others:
    """What is on each worker that is not the process's own: other processes', other routers'."""
    return Others(
        {
            worker.id: worker.others + worker.in_flight - sums.on_worker(process, worker.id)
            for worker in router.workers.workers.values()
        }
    )


def view_of(router: Router) -> View:
    """The parent's workers and peers."""
    rows = [
        WorkerRow(
            Seen(w.id, w.fleet, w.address, w.agent, w.role, w.bootstrap_port, w.told_fleet),
            w.slot,
            w.report,
            w.failed_reads,
            w.read_at,
            w.drained_here,
        )
        for w in router.workers.workers.values()
    ]
    return View(rows, router.peers.self_id, router.peers.serving, router.peers.states())


def mirror_workers(router: Router, rows: Mapping[str, WorkerRow]) -> None:
    """Make a data process's workers what the parent's are."""
    workers = router.workers
    slots = {key: row.slot for key, row in rows.items()}
    same = [
        row.seen
        for key, row in rows.items()
        if key not in workers.workers or workers.workers[key].slot == row.slot
    ]
    _, removed = workers.apply(same, slots)  # a worker in another slot is another worker
    workers.apply([row.seen for row in rows.values()], slots)
    for worker in removed:
        router.forget(worker)
    for key, worker in workers.workers.items():
        row, others = rows[key], worker.others
        if row.report is not None:
            worker.take(row.report)
        worker.others = others  # the parent tells them
        worker.failed_reads, worker.read_at = row.failed_reads, row.read_at
        worker.drained_here = row.drained_here
    workers.refresh(router.clock())
