"""Metrics: their text, their sums over processes, and what a request leaves in them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.telemetry.families import Counter, Gauge, Histogram, render
from sglrouter.telemetry.metrics import Metrics
from sglrouter.telemetry.trace import trace_id

EVENTS = {
    "answered": st.tuples(*[st.sampled_from("abc")] * 3, st.sampled_from([200, 429, 503])),
    "attempt_failed": st.tuples(st.just("f"), st.sampled_from(["connect", "reset"])),
    "retried": st.tuples(st.just("f"), st.just("connect")),
    "disconnected": st.tuples(st.just("f"), st.just("waiting")),
    "truncated": st.tuples(st.just("f"), st.just("event")),
    "chosen": st.tuples(st.just("f"), st.sampled_from(["prefix", "load"])),
    "refused": st.tuples(st.just("f"), st.just("queue_full")),
    "queued": st.tuples(st.just("f"), st.floats(0, 100)),
    "breaker_opened": st.tuples(st.just("f")),
    "tier_used": st.tuples(st.just("f"), st.just("out")),
    "hop": st.tuples(st.just("answered")),
    "reloads": st.tuples(st.just("applied")),
    "tally": st.tuples(
        st.sampled_from("ab"),
        st.just("f"),
        st.just("f"),
        st.sampled_from([200, 499]),
        st.sampled_from("kl"),
    ),
}
event = st.one_of([st.tuples(st.just(name), values) for name, values in EVENTS.items()])


def numbers(metrics):
    """Every line but the comments, as name → value."""
    lines = [x for x in render(metrics.families()).splitlines() if not x.startswith("#")]
    return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines)}


@given(st.lists(st.tuples(event, st.integers(0, 2)), max_size=40))
def test_a_sum_over_processes_is_what_one_process_would_have_counted(events):
    """Also after the way through JSON, and when one of them has ended."""
    one, parts = Metrics(), [Metrics() for _ in range(3)]
    for (name, values), part in events:
        for metrics in (one, parts[part]):
            counted = getattr(metrics, name)(*values)
            if name == "tally":
                counted.add(0.3, 0.2, (7, 3, 4, False), 2)
    dumps = [json.loads(json.dumps(part.dump())) for part in parts]
    assert numbers(Metrics.load_sum(dumps)) == pytest.approx(numbers(one))
    parent = Metrics()
    parent.others = {1: dumps[0], 2: dumps[1]}
    parent.ended(1)
    total = Metrics.load_sum([parent.dump(), parent.past, *parent.others.values(), dumps[2]])
    assert numbers(total) == pytest.approx(numbers(one))


def test_gauges_of_an_ended_process_go_and_its_counters_stay():
    child, parent = Metrics(), Metrics()
    child.answered("/x", "chat", "chat", 200)
    child.gauges.in_flight[("chat",)] = 3
    parent.others[7] = child.dump()
    for _ in range(2):  # told twice is told once
        parent.ended(7)
        total = Metrics.load_sum([parent.dump(), parent.past])
        assert total.requests == {("/x", "chat", "chat", 200): 1}
        assert total.gauges.in_flight == {}


def test_a_dump_of_another_version_loses_only_what_is_unknown_here():
    dump = {**Metrics().dump(), "sglrouter_future_total": [[["a"], 1]]}
    dump.pop("sglrouter_retries_total")
    assert numbers(Metrics.load_sum([dump])) == numbers(Metrics())


def test_labels_are_escaped_and_large_numbers_are_whole():
    counter = Counter("c_total", "Text.", "name")
    counter[('a"b\\c\nd',)] = 123456789
    gauge = Gauge("g", "Text.")
    gauge[()] = 0.25
    assert render([counter, gauge]) == (
        "# HELP c_total Text.\n# TYPE c_total counter\n"
        'c_total{name="a\\"b\\\\c\\nd"} 123456789\n'
        "# HELP g Text.\n# TYPE g gauge\ng 0.25\n"
    )


def test_a_gauge_of_what_is_shared_is_not_added_up():
    shared, own = Gauge("shared", "", largest=True), Gauge("own", "")
    for value in (5, 3):
        shared.merge([[[], value]])
        own.merge([[[], value]])
    assert (shared[()], own[()]) == (5, 8)


def test_a_histogram_counts_each_bound_and_everything_below():
    histogram = Histogram("h", "Text.", (0.1, 1), "fleet")
    for seconds in (0.05, 0.1, 0.5, 70):
        histogram.observe("chat", seconds)
    assert [line.rsplit(" ", 1) for line in histogram.lines()] == [
        ['h_bucket{fleet="chat",le="0.1"}', "2"],
        ['h_bucket{fleet="chat",le="1"}', "3"],
        ['h_bucket{fleet="chat",le="+Inf"}', "4"],
        ['h_sum{fleet="chat"}', "70.650000"],
        ['h_count{fleet="chat"}', "4"],
    ]


SAMPLE = re.compile(r'^[a-z_]+(\{([a-z_]+="[^"\n]*",?)+\})? (\d+(\.\d+)?(e-?\d+)?)$')


def test_every_line_is_prometheus_text_and_no_sample_is_there_twice(lab):
    async def scenario():
        async with lab.world(lab.FakeWorker(), lab.FakeWorker(handler=lab.reset())) as world:
            for _ in range(4):
                await world.ask(lab.post())
            return (await world.admin("/metrics")).body.decode()

    lines = [x for x in lab.run(scenario()).splitlines() if not x.startswith("#")]
    assert [line for line in lines if not SAMPLE.match(line)] == []
    names = [line.rsplit(" ", 1)[0] for line in lines]
    assert len(set(names)) == len(names)
    assert {'sglrouter_queue_depth{fleet="chat"} 0', "sglrouter_peers_live 0"} <= set(lines)
    memory = next(x for x in lines if x.startswith("process_resident_memory_bytes"))
    assert int(memory.split()[1]) > 1_000_000


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACES = [
    (f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n", TRACE),
    (f"a: b\r\nTraceParent:00-{TRACE}-00f067aa0ba902b7-00\r\n", TRACE),
    (f"traceparent: cc-{TRACE}-00f067aa0ba902b7-01-more\r\n", TRACE),
    (f"traceparent: 00-{'0' * 32}-00f067aa0ba902b7-01\r\n", ""),
    (f"x-traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n", ""),
    ("traceparent: 00-short-00f067aa0ba902b7-01\r\n", ""),
    ("", ""),
]


@pytest.mark.parametrize(("lines", "expected"), TRACES)
def test_a_valid_trace_context_names_its_trace(lines, expected):
    assert trace_id(lines.encode()) == expected


def test_a_trace_goes_on_to_the_worker_and_into_the_log(lab):
    """With why the worker was chosen, how long it queued, and its tokens."""
    context = f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\ntracestate: a=b\r\n"
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}

    async def scenario():
        worker = lab.FakeWorker(handler=lab.plain(json.dumps({"usage": usage}).encode()))
        async with lab.world(worker) as world:
            await world.ask(lab.post(headers=context))
            await world.ask(lab.post())
            assert context.encode() in worker.requests[0].head + b"\r\n"
            first, second = [line for line in world.log() if line["event"] == "request"]
            assert first["trace_id"] == TRACE
            assert "trace_id" not in second
            assert (first["tier"], first["reason"], first["queue_ms"]) == ("chat", "cold", 0.0)
            assert (first["prompt_tokens"], first["completion_tokens"]) == (7, 3)

    lab.run(scenario())
