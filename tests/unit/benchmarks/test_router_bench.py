"""The router benchmark measures, judges and cleans up. Never how fast anything is."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from benchmarks.router.lab import RunError, lab
from benchmarks.router.lines import LINES, judge
from benchmarks.router.load import summary
from benchmarks.router.measure import MEASUREMENTS, QUICK, Samples
from benchmarks.router.peers import NGINX, OURS, SGLANG
from benchmarks.router.processes import members
from benchmarks.router.prompts import Prompts
from benchmarks.router.report import failures, table

needs_two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2 or not shutil.which("setpriv"),
    reason="needs two cores and setpriv (Linux)",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the run's temporary folder will be."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@needs_two_cores
def test_a_quick_run_yields_sane_figures_and_leaves_nothing(home: Path) -> None:
    samples = Samples()
    sessions: list[int] = []

    async def run() -> None:
        async with lab() as made:
            for name in ("requests", "tokens", "latency", "pace", "memory", "connections"):
                await MEASUREMENTS[name][0](made, samples, QUICK, [OURS])
            async with made.router(OURS) as subject:
                sessions.append(subject.program.process.pid)
                assert subject.usage().resident > 1_000_000

    asyncio.run(run())
    values = {measure: of[OURS] for measure, of in samples.values.items() if OURS in of}
    assert set(values) >= {"request_2k_cpu_us", "token_cpu_us", "added_p50_us", "connect_errors"}
    assert all(math.isfinite(v) for of in values.values() for v in of)
    assert {measure: of.get(OURS) for measure, of in samples.errors.items() if of.get(OURS)} == {}
    assert [members(session) for session in sessions] == [[]]
    assert list(home.iterdir()) == []


@needs_two_cores
def test_a_router_that_does_not_start_is_told_with_its_output(home: Path) -> None:
    async def run() -> None:
        async with lab() as made, made.router(OURS, policy="no_such_policy"):
            raise AssertionError("it started")

    with pytest.raises(RunError, match="policy: Input should be"):
        asyncio.run(run())
    assert list(home.iterdir()) == []


@needs_two_cores
def test_a_cancelled_run_leaves_nothing(home: Path) -> None:
    """What Ctrl-C does."""
    seen: list[int] = []

    async def run() -> None:
        async with lab() as made, made.router(OURS) as subject:
            seen.append(subject.program.process.pid)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert (len(seen), members(seen[0]), list(home.iterdir())) == (1, [], [])


def test_every_line_rests_on_a_measurement_and_names_differ() -> None:
    assert {line.measurement for line in LINES} - set(MEASUREMENTS) == {""}
    assert len({line.name for line in LINES}) == len(LINES)


def sampled(ours: list[float], nginx: list[float], sglang: list[float]) -> Samples:
    samples = Samples()
    samples.values["request_2k_cpu_us"] = {OURS: ours, NGINX: nginx, SGLANG: sglang}
    return samples


@pytest.mark.parametrize(
    ("ours", "nginx", "expected"),
    [
        ([20.0], [10.0], (2.0, True)),
        ([21.0], [10.0], (2.1, False)),
        ([10.0, 40.0, 20.0], [10.0, 10.0, 10.0], (2.0, True)),  # the median of the rounds
        ([30.0, 10.0], [30.0, 10.0], (1.0, True)),  # a slow round weighs on both
        ([], [10.0], (None, None)),
    ],
)
def test_a_ratio_is_the_median_over_rounds(
    ours: list[float], nginx: list[float], expected: tuple[float | None, bool | None]
) -> None:
    verdict = judge(sampled(ours, nginx, []))[0]
    assert (verdict.value, verdict.passed) == expected


def test_what_was_not_measured_does_not_pass() -> None:
    assert {verdict.passed for verdict in judge(Samples())} == {None}


def test_a_failed_request_of_ours_fails_the_run() -> None:
    samples = Samples()
    samples.charge("tokens", OURS, 1)
    samples.charge("tokens", NGINX, 7)
    last = judge(samples)[-1]
    assert (last.value, last.passed) == (1.0, False)
    assert failures(samples) == "\nfailed requests: tokens: sglctl 1, tokens: nginx 7"
    assert failures(Samples()) == ""


def test_the_table_says_pass_fail_or_not_measured_per_line() -> None:
    text = table(judge(sampled([21.0], [10.0], [100.0])))
    assert [word in text for word in ("FAIL", "pass", "not measured")] == [True, True, True]


def test_prompts_differ_from_their_first_words_and_keep_their_size() -> None:
    prompts = Prompts(2048, seed=5)
    bodies = [prompts.next().partition(b"\r\n\r\n")[2] for _ in range(200)]
    starts = {body[body.index(b'"content":"') + 11 :][:12] for body in bodies}
    assert len(starts) == 200
    assert {abs(len(body) - len(bodies[0])) <= 1 for body in bodies} == {True}


def test_a_summary_counts_in_microseconds() -> None:
    assert summary([0.001, 0.002, 0.003])["p50_us"] == pytest.approx(2000)
