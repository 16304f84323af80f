"""Numbers that are read when somebody asks.

`read_process` sets what each process knows of itself (they are added up, or the largest counts);
`read_host` what the control plane alone knows.
"""

from __future__ import annotations

import os
import time
from collections import Counter as Tally
from pathlib import Path
from typing import TYPE_CHECKING

from sglrouter.telemetry.families import Counter, Gauge, P

if TYPE_CHECKING:
    from sglrouter.serving.core import Router


class Gauges:
    def __init__(self) -> None:
        self.ready_workers = Gauge(P + "ready_workers", "Workers that may be chosen.", "fleet")
        self.workers = Gauge(
            P + "workers", "Workers known, by the state they last reported.", "fleet", "state"
        )
        self.worker_queued = Gauge(
            P + "worker_queued",
            "Requests queued in a worker's engine, as its agent reported.",
            "fleet",
            "worker",
        )
        self.draining = Gauge(P + "draining", "1 while stopping.")
        self.worker_in_flight = Gauge(
            P + "worker_in_flight", "Requests of this router on a worker.", "fleet", "worker"
        )
        self.in_flight = Gauge(P + "in_flight", "Requests being served.", "fleet")
        self.queue_depth = Gauge(
            P + "queue_depth", "Requests that wait at the router for a worker.", "fleet"
        )
        self.breaker_open = Gauge(
            P + "worker_breaker_open",
            "Processes that keep a worker out of choice.",
            "fleet",
            "worker",
        )
        self.peers_live = Gauge(P + "peers_live", "Other routers that are alive.")
        self.index_entries = Gauge(
            P + "index_entries", "Entries of the prefix index in use.", "fleet", largest=True
        )
        self.index_capacity = Gauge(
            P + "index_capacity", "Entries the prefix index can hold.", "fleet", largest=True
        )
        self.index_bytes = Gauge(
            P + "index_bytes", "Memory of the prefix index.", "fleet", largest=True
        )
        self.index_prompt_tokens = Counter(
            P + "index_prompt_tokens_total", "Prompt tokens looked up in the index.", "fleet"
        )
        self.index_matched_tokens = Counter(
            P + "index_matched_tokens_total", "Those the index knew on the chosen worker.", "fleet"
        )
        self.client_connections = Gauge(P + "client_connections", "Open connections of clients.")
        self.log_lines_dropped = Counter(
            P + "log_lines_dropped_total", "Log lines nobody took in time."
        )
        self.resident = Gauge("process_resident_memory_bytes", "Resident memory of all processes.")
        self.cpu = Counter("process_cpu_seconds_total", "CPU time of all processes.")


def read_process(router: Router) -> None:
    """Set what this process knows of itself."""
    gauges = router.metrics.gauges
    for gauge in (gauges.worker_in_flight, gauges.breaker_open, gauges.in_flight):
        gauge.clear()
    gauges.queue_depth.clear()
    for worker in router.workers.workers.values():
        gauges.worker_in_flight[(worker.fleet, worker.id)] = worker.in_flight
        gauges.breaker_open[(worker.fleet, worker.id)] = int(not worker.breaker.closed)
    for fleet in router.workers.fleets.values():
        gauges.in_flight[(fleet.name,)] = fleet.in_flight
        gauges.queue_depth[(fleet.name,)] = len(fleet.queue)
    _read_policies(router)
    gauges.client_connections[()] = len(router.clients)
    gauges.log_lines_dropped[()] = router.log.dropped
    gauges.resident[()] = _resident_bytes()
    gauges.cpu[()] = time.process_time()


def _read_policies(router: Router) -> None:
    gauges = router.metrics.gauges
    known = {
        "index_entries": gauges.index_entries,
        "index_capacity": gauges.index_capacity,
        "index_bytes": gauges.index_bytes,
        "prompt_tokens": gauges.index_prompt_tokens,
        "matched_tokens": gauges.index_matched_tokens,
    }
    for family in known.values():
        family.clear()
    for fleet, policy in router.policies.items():
        for name, value in policy.statistics().items():
            if name in known:
                known[name][(fleet,)] = value


def read_host(router: Router) -> None:
    """Set what the registrar knows."""
    gauges, workers = router.metrics.gauges, router.workers.workers.values()
    gauges.ready_workers.clear()
    for fleet in router.workers.fleets.values():
        gauges.ready_workers[(fleet.name,)] = len(fleet.ready)
    gauges.workers.clear()
    gauges.workers.update(Tally((worker.fleet, worker.state) for worker in workers))
    gauges.worker_queued.clear()
    for worker in workers:
        gauges.worker_queued[(worker.fleet, worker.id)] = worker.queued
    gauges.draining[()] = int(router.draining)
    gauges.peers_live[()] = len(router.peers.live)


def _resident_bytes() -> int:
    """https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html: the second field, in pages."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
