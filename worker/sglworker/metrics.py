"""`GET /metrics` of the agent: Prometheus text, format 0.0.4."""

from __future__ import annotations

from typing import get_args

from sglworker.models import StateName
from sglworker.worker import Worker

_GAUGES = {
    "in_flight": "Requests running in the engine.",
    "queued": "Requests waiting in the engine.",
    "token_usage": "Share of the KV cache in use.",
    "cache_hit_rate": "Share of prompt tokens found in the prefix cache.",
    "hydrated_bytes": "Bytes of weights read at boot.",
}


def render(worker: Worker) -> str:
    """All metrics of one worker; a load that was never read has no sample."""
    document = worker.document()
    lines: list[str] = []

    def add(name: str, kind: str, text: str, samples: dict[str, float]) -> None:
        lines.extend([f"# HELP sglworker_{name} {text}", f"# TYPE sglworker_{name} {kind}"])
        lines.extend(f"sglworker_{name}{labels} {value}" for labels, value in samples.items())

    states = {f'{{state="{s}"}}': float(s == worker.state) for s in get_args(StateName)}
    add("state", "gauge", "1 for the state the worker is in.", states)
    for name, text in _GAUGES.items():
        unknown = worker.load_at is None and name != "hydrated_bytes"
        add(name, "gauge", text, {} if unknown else {"": float(getattr(document, name))})
    for name, value, text in (
        ("weights_bytes", worker.weights_bytes, "Bytes of all weight files."),
        ("hydration_mbps", worker.hydration_mbps, "Megabytes per second of reading them."),
    ):
        add(name, "gauge", text, {} if value is None else {"": float(value)})
    age = worker.load_age_s()
    add("load_age_seconds", "gauge", "Age of the engine's load.", {} if age is None else {"": age})
    moves = {f'{{to="{state}"}}': float(n) for state, n in sorted(worker.transitions.items())}
    add("transitions_total", "counter", "Changes of state.", moves)
    add("cut_streams_total", "counter", "Requests cut by drains.", {"": float(worker.cut_streams)})
    add(
        "engine_read_failures_total",
        "counter",
        "Reads of the engine's load without an answer.",
        {"": float(worker.read_failures)},
    )
    starts = {"": float(worker.engine_starts)}
    add("engine_starts_total", "counter", "Starts of the engine, as it told them.", starts)
    failures = {"": float(worker.write_failures)}
    add("write_failures_total", "counter", "Writes of the agent's memory that failed.", failures)
    phases = {
        f'{{phase="{phase.name}"}}': phase.seconds
        for phase in document.timeline
        if phase.seconds is not None
    }
    add("phase_seconds", "gauge", "Length of each phase of the way into service.", phases)
    return "\n".join(lines) + "\n"
