"""What the admin listener shows: metrics, workers, configuration, index, readiness."""

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
        "role": worker.role,
        "url": f"http://{worker.engine}",
        "state": worker.state,
        "chosen_from": ready,
        "drained_here": worker.drained_here,
        "in_flight": worker.in_flight,
        "others": worker.others,
        "queued": worker.queued,
        "failed_reads": worker.failed_reads,
        "age_s": round(now - worker.read_at, 3) if worker.read_at else None,
        "adapters": sorted(worker.adapters),
        "report": worker.report.document if worker.report is not None else None,
    }


def workers_document(router: Router) -> dict[str, Any]:
    """`GET /workers`: every worker with its state and load; `chosen_from`: gets new requests;
    `breaker_open`: by how many processes of this host it is kept out of choice."""
    now, fleets = router.clock(), router.workers.fleets.values()
    ready = {worker for fleet in fleets for worker in fleet.ready}
    opened = whole(router).gauges.breaker_open
    rows = [
        {**worker_row(w, w in ready, now), "breaker_open": opened[(w.fleet, w.id)]}
        for w in router.workers.workers.values()
    ]
    return {"version": 1, "environment": router.document.environment, "workers": rows}


def config_document(router: Router) -> dict[str, Any]:
    """`GET /config`: the document in force. It names where secrets are, never their values."""
    return router.document.model_dump(mode="json")


def index_document(router: Router) -> dict[str, Any]:
    """`GET /index`: each fleet's policy and what it says of itself; tokens over all processes."""
    numbers = whole(router).gauges
    fleets = {
        name: {
            "policy": policy.name,
            **policy.statistics(),
            "prompt_tokens": numbers.index_prompt_tokens[(name,)],
            "matched_tokens": numbers.index_matched_tokens[(name,)],
        }
        for name, policy in router.policies.items()
    }
    return {"version": 1, "fleets": fleets}


def readiness(router: Router) -> dict[str, Any]:
    """`GET /ready`: `waits_for` names what is missing before every request could be answered."""
    document = router.document
    missing = [f"fleet:{f.name}" for f in router.workers.fleets.values() if not f.ready]
    if document.keys is not None and not router.keys.loaded:
        missing.append("keys")
    if document.admin_key is not None and router.admin_key_hash is None:
        missing.append("admin_key")
    missing += [f"external:{n}" for n in document.externals if n not in router.external_keys]
    if router.draining:
        missing.append("draining")
    return {"version": 1, "ready": not missing, "waits_for": missing}
