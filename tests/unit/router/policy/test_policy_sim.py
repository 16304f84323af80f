"""The simulation of policies: its model, its verdicts, its command."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import policy_sim as sim
from benchmarks.simulation.workload import Workload

ROOT = Path(__file__).parents[4]
SMALL = {
    "name": "small",
    "about": "a test",
    "tuned_on": False,
    "workers": [{"count": 3, "cache_tokens": 30_000}],
    "seeds": [5],
    "clients": {
        "conversations": 60,
        "per_s": 2,
        "systems": {"count": 6, "tokens": [500, 3000]},
        "turns": 4,
    },
}


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def test_the_pooled_bound_is_above_a_policy_and_that_above_chance(small):
    workload, seeds = sim.load(small, 0)
    rows = [
        sim.run(name, workload.workers, seeds)[0]
        for name in ("pooled", "prefix_aware", "round_robin")
    ]
    assert rows[0].hit >= rows[1].hit > rows[2].hit > 0
    assert [row.imbalance >= 1 for row in rows] == [True] * 3


def test_a_run_depends_on_its_seed_alone(small):
    workload, seeds = sim.load(small, 0)
    again, same = sim.load(small, 0)
    for name in sim.NAMES:
        first = sim.run(name, workload.workers, seeds, routers=2)
        assert first == sim.run(name, again.workers, same, routers=2)


def test_every_turn_of_every_conversation_is_served_once(small):
    _, seeds = sim.load(small, 0)
    workload, _ = sim.load(small, 0)
    simulation = sim.Simulation(workload.workers, sim.maker("prefix_aware"), 2)
    outcome = simulation.run(seeds[0])
    assert len(outcome.samples) == sum(len(c.turns) for c in seeds[0])
    for router in simulation.routers:
        assert {(w.in_flight, w.backlog) for w in router.workers} == {(0, 0)}
    assert all(sample.cached <= sample.prompt for sample in outcome.samples)


def test_a_trace_shares_what_its_hash_ids_share(tmp_path):
    path = tmp_path / "trace.jsonl"
    lines = [
        {"timestamp": 0, "input_length": 2000, "output_length": 5, "hash_ids": [1, 2, 3, 4]},
        {"timestamp": 9000, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 9]},
        {"timestamp": 9500, "input_length": 1100, "output_length": 5, "hash_ids": [8, 2, 9]},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    workload, seeds = sim.load(path, 1)
    outcome = sim.Simulation(workload.workers, sim.maker("prefix_aware")).run(seeds[0])
    assert [sample.cached for sample in outcome.samples] == [0, 1024, 0]
    assert [sample.at for sample in outcome.samples] == [0.0, 9.0, 9.5]


ROW = {"ttft_p50": 0.1, "imbalance": 1.0, "spilled": 0.0, "busy": 0.5}
# Per seed: hit and p99 of pooled, of one router and of four; which lines hold.
GOOD = ((0.80, 1.0), (0.79, 1.2), (0.78, 1.5))
LOW_HIT = ((0.80, 1.0), (0.775, 1.2), (0.775, 1.5))
FEW_HITS = ((0.80, 1.0), (0.70, 1.2), (0.70, 1.5))
SLOW_AND_APART = ((0.80, 1.0), (0.79, 1.35), (0.765, 1.5))
VERDICTS = [
    ("all good", [GOOD], [True, True, True]),
    ("one seed of three a little low", [GOOD, LOW_HIT, GOOD], [True, True, True]),
    ("most seeds a little low", [LOW_HIT, LOW_HIT, GOOD], [False, True, True]),
    ("one seed far too low", [GOOD, FEW_HITS, GOOD], [False, True, True]),
    ("slow, and routers apart", [SLOW_AND_APART], [True, False, False]),
    ("one such seed of three", [GOOD, SLOW_AND_APART, GOOD], [True, True, True]),
]


@pytest.mark.parametrize(
    ("seeds", "expected"), [case[1:] for case in VERDICTS], ids=[case[0] for case in VERDICTS]
)
def test_a_line_holds_by_the_median_of_its_seeds_and_more_loosely_by_the_worst(seeds, expected):
    cases = [("pooled", 1), ("prefix_aware", 1), ("prefix_aware", 4)]
    runs = [
        [
            sim.Row(policy=name, routers=routers, hit=seed[n][0], ttft_p99=seed[n][1], **ROW)
            for seed in seeds
        ]
        for n, (name, routers) in enumerate(cases)
    ]
    lines = sim.judge("w", runs)
    assert [line.passed for line in lines] == expected
    assert sim.render("w", runs, lines).count("FAIL") == expected.count(False)
    saturated = [[dataclasses.replace(row, busy=0.95) for row in runs[0]], *runs[1:]]
    assert len(sim.judge("w", saturated)) == 2  # no TTFT is promised there


def test_every_shipped_workload_is_read_and_two_are_held_out():
    paths = sorted((ROOT / "benchmarks/workloads").glob("*.yaml"))
    workloads = {
        path.stem: Workload.model_validate(yaml.safe_load(path.read_text())) for path in paths
    }
    assert [name for name, workload in workloads.items() if workload.name != name] == []
    held_out = {name for name, workload in workloads.items() if not workload.tuned_on}
    assert held_out == {"held-out-assistants", "unseen"}
    assert {len(workload.seeds) for workload in workloads.values()} == {5}
    assert {"chat", "agent", "hot_prefix", "low_concurrency", "heterogeneous"} <= set(workloads)


def test_the_command_prints_rows_and_lines_as_json(small):
    options = ["--policy", "pooled", "--policy", "prefix_aware", "--output", "json"]
    done = subprocess.run(
        [sys.executable, "benchmarks/policy_sim.py", "--workload", small, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    document = json.loads(done.stdout)
    assert done.returncode == (0 if all(line["passed"] for line in document["lines"]) else 1)
    assert [rows[0]["policy"] for rows in document["runs"]["small"]] == [
        "pooled",
        "prefix_aware",
        "prefix_aware",
    ]


@pytest.mark.parametrize("text", ["name: x", "{", "[]", "", "name: [1"])
def test_a_workload_that_is_none_is_a_usage_error(tmp_path, capsys, text):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    assert sim.main(["--workload", str(path)]) == 2
    assert "wrong.yaml" in capsys.readouterr().err
