"""What a run of streams says follows from logs and records; and it can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.streams import events
from benchmarks.streams.ask import Outcome
from benchmarks.streams.figures import Leaving, Spread, figures, leavings
from benchmarks.streams.load import Record
from benchmarks.streams.phases import Phase
from benchmarks.streams.report import problems, table

LOG = [
    "2026-11-21 16:32:30,819 INFO sglocal.aws.autoscaling.launching: group g: launches i-a",
    "2026-11-21 16:32:40,250 INFO sglocal.aws.autoscaling.leaving: group g: i-a leaves (warm: "
    "False): At … it was shrunk.",
    "2026-11-21 16:32:41,000 INFO sglocal.aws.autoscaling.leaving: group r: i-b leaves (warm: "
    "False): At … it was shrunk.",
    "2026-11-21 16:32:50,750 INFO sglocal.aws.autoscaling.lifecycle_api: hook terminate of i-a"
    " completed with CONTINUE",
    "2026-11-21 16:32:51,000 INFO sglocal.aws.autoscaling.lifecycle_api: hook launch of i-c"
    " completed with CONTINUE",
]


def record(worker: str, ended_at: float, outcome: Outcome = Outcome.COMPLETE) -> Record:
    return Record(outcome, worker, ended_at - 1, ended_at - 0.9, ended_at)


def phase(name: str, records: list[Record], left: list[Leaving]) -> Phase:
    return Phase(name, records, [], len(records), 1.0, left, ())


def test_the_emulators_log_tells_who_left_and_whose_terminate_hook_was_completed() -> None:
    told, done = events.leaving(LOG, "g"), events.completed(LOG)
    assert (list(told), list(done)) == (["i-a"], ["i-a"])
    assert done["i-a"] - told["i-a"] == pytest.approx(10.5)


def test_a_request_was_chosen_when_it_left_the_queue_and_only_its_last_router_counts(
    tmp_path: Path,
) -> None:
    def line(**fields: object) -> str:
        said = {"ts": 100.0, "event": "request", "worker": "i-a", "tier": "chat", "attempts": 1,
                "queue_ms": 0.0, "first_byte_ms": 700.0, "duration_ms": 5000.0}  # fmt: skip
        return json.dumps({**said, **fields}, separators=(",", ":"))

    log = tmp_path / "console.log"
    cases = [
        (line(), 95.0),
        (line(queue_ms=250.0), 95.25),
        (line(attempts=2), 95.7),
        ("\n".join([line(), line(ts=99.0)]), 95.0),
    ]
    for text, expected in cases:
        log.write_text(f"no JSON\n{text}\n")
        assert events.chosen([log], ["i-a"]) == {"i-a": pytest.approx(expected)}
    log.write_text(line(tier="peer") + "\n" + line(worker="i-b") + "\n")
    assert events.chosen([log], ["i-a"]) == {}


def test_refused_discovery_counts_from_the_moment_it_is_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text('{"ts":50.0,"event":"discovery_failed","reason":"x"}\n')
    assert events.discovery_failed(log, 49.0)
    assert not events.discovery_failed(log, 51.0)


def test_a_worker_that_left_is_timed_from_its_event_to_its_hook() -> None:
    records = [record("i-a", 112.0), record("i-a", 110.0), record("i-b", 200.0)]
    (left,) = leavings({"i-a": 100.0}, {"i-a": 101.25}, {"i-a": 112.5}, records)
    assert left == Leaving("i-a", not_chosen_s=1.25, drained_s=12.0, hook_s=0.5)


@pytest.mark.parametrize(
    ("ended_at", "completed", "why"),
    [
        (100.5, {"i-a": 102.0}, "its drain had to last for routers to learn of it"),
        (99.0, {"i-a": 102.0}, "it was idle already"),
        (112.0, {}, "it has no hook"),
    ],
)
def test_a_hook_is_only_timed_where_streams_were_what_it_waited_for(
    ended_at: float, completed: dict[str, float], why: str
) -> None:
    (left,) = leavings({"i-a": 100.0}, {}, completed, [record("i-a", ended_at)])
    assert left.hook_s is None, why
    assert left.not_chosen_s == 0.0


@given(st.lists(st.floats(0, 1000), min_size=1))
def test_percentiles_are_values_that_were_seen_and_in_order(values: list[float]) -> None:
    spread = Spread.of(values)
    assert {spread.p50, spread.p99, spread.max} <= set(values)
    assert spread.p50 <= spread.p99 <= spread.max == max(values)


def test_figures_tell_spot_apart_and_hold_each_to_its_own_bound() -> None:
    found = figures(
        {"scale-in": [Leaving("i-a", 1.9, 9.0, 0.4)], "spot": [Leaving("i-s", 5.5, 9.0, None)]}
    )
    assert {figure.name: figure.held for figure in found} == {
        "idle → hook completed": True,
        "terminate event → no new request": True,
        "terminate event → last stream over": True,
        "Spot notice → no new request": True,
        "Spot notice → last stream over": True,
    }


@pytest.mark.parametrize(
    ("record_of", "left", "expected"),
    [
        (Outcome.COMPLETE, Leaving("i-a", 1.0, 9.0, 0.4), []),
        (Outcome.TRUNCATED, Leaving("i-a", 1.0, 9.0, 0.4), ["scale-in: 1 streams truncated"]),
        (Outcome.FAILED, Leaving("i-a", 1.0, 9.0, 0.4), ["scale-in: 1 streams failed"]),
        (Outcome.COMPLETE, Leaving("i-a", 2.1, 9.0, 0.4), ["terminate event → no new request"]),
        (Outcome.COMPLETE, Leaving("i-a", 1.0, 9.0, 1.1), ["idle → hook completed"]),
        (Outcome.COMPLETE, Leaving("i-a", 1.0, 9.0, None), ["idle → hook completed"]),
    ],
)
def test_a_run_holds_only_if_every_stream_and_every_figure_does(
    record_of: Outcome, left: Leaving, expected: list[str]
) -> None:
    phases = [phase("scale-in", [record("i-a", 109.0, record_of)], [left])]
    found = problems(phases)
    assert len(found) == len(expected)
    assert all(text.startswith(wanted) for text, wanted in zip(found, expected, strict=True))
    assert ("FAIL" in table(phases)) == any(": " in text and "s wanted" in text for text in found)
