"""What the admin listener shows: metrics with their gauges, workers, configuration."""

from __future__ import annotations

from typing import Any

from sglrouter.fleet.workers import Worker
from sglrouter.serving.core import Router
from sglrouter.telemetry import gauges
from sglrouter.telemetry.families import render
from sglrouter.telemetry.metrics import Dump, Metrics


def process_dump(router: Router) -> Dump:
    """What a data process sends its parent."""
    gauges.read_process(router)
    return router.metrics.dump()


def whole(router: Router) -> Metrics:
    """The host's numbers: this process's and those it has heard from others."""
    gauges.read_host(router)
    metrics = router.metrics
    return Metrics.load_sum([process_dump(router), metrics.past, *metrics.others.values()])


def render_metrics(router: Router) -> bytes:
    """All metrics in Prometheus' text format."""
    return render(whole(router).families()).encode()


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
        "breaker": worker.breaker.state(now).value,
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
