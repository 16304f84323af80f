"""What the admin listener shows: metrics with their gauges, workers, configuration."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sglrouter.fleet.workers import Worker
from sglrouter.serving.core import Router
from sglrouter.telemetry.metrics import family, render_counters


def render_metrics(router: Router) -> bytes:
    """All metrics in Prometheus' text format."""
    workers = router.workers.workers.values()
    fleets = router.workers.fleets.values()
    states = Counter((worker.fleet, worker.state) for worker in workers)
    p = "sglrouter_"
    gauges = [
        family(
            f"{p}ready_workers",
            "gauge",
            "Workers that may be chosen.",
            [({"fleet": fleet.name}, len(fleet.ready)) for fleet in fleets],
        ),
        family(
            f"{p}workers",
            "gauge",
            "Workers known, by the state they last reported.",
            [({"fleet": fleet, "state": state}, n) for (fleet, state), n in states.items()],
        ),
        family(
            f"{p}worker_in_flight",
            "gauge",
            "Requests of this router on a worker.",
            [({"fleet": w.fleet, "worker": w.id}, w.in_flight) for w in workers],
        ),
        family(
            f"{p}worker_queued",
            "gauge",
            "Requests queued in a worker's engine, as its agent reported.",
            [({"fleet": w.fleet, "worker": w.id}, w.queued) for w in workers],
        ),
        family(
            f"{p}in_flight",
            "gauge",
            "Requests being served.",
            [({"fleet": fleet.name}, fleet.in_flight) for fleet in fleets],
        ),
        family(
            f"{p}client_connections",
            "gauge",
            "Open connections of clients.",
            [({}, len(router.clients))],
        ),
        family(f"{p}draining", "gauge", "1 while stopping.", [({}, int(router.draining))]),
        family(
            f"{p}log_lines_dropped_total",
            "counter",
            "Log lines nobody took in time.",
            [({}, router.log.dropped)],
        ),
    ]
    return (render_counters(router.metrics) + "".join(gauges)).encode()


def worker_row(worker: Worker, ready: bool, now: float) -> dict[str, Any]:
    return {
        "id": worker.id,
        "fleet": worker.fleet,
        "url": f"http://{worker.engine}",
        "state": worker.state,
        "chosen_from": ready,
        "in_flight": worker.in_flight,
        "queued": worker.queued,
        "failed_reads": worker.failed_reads,
        "age_s": round(now - worker.read_at, 3) if worker.read_at else None,
        "penalty_s": round(max(0.0, worker.penalty_until - now), 3),
        "report": worker.report.document if worker.report is not None else None,
    }


def workers_document(router: Router) -> dict[str, Any]:
    """`GET /workers`: every worker with its state and load; `chosen_from`: gets new requests."""
    now = router.clock()
    ready = {worker for fleet in router.workers.fleets.values() for worker in fleet.ready}
    rows = [worker_row(w, w in ready, now) for w in router.workers.workers.values()]
    return {"version": 1, "environment": router.document.environment, "workers": rows}


def config_document(router: Router) -> dict[str, Any]:
    """`GET /config`: the document in force. It names where secrets are, never their values."""
    return router.document.model_dump(mode="json")
