"""The stub engine answers as SGLang does, field by field; the record is SGLang's own answers."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from engine_cases import CASES, Case
from shapes import ask, missing

from sglocal.stub_engine.app import start
from sglocal.stub_engine.options import Options

RECORD = Path(__file__).with_name("recorded") / "sglang-0.5.23.json"
#: Of these the stub tells a part; every field it tells must be one of SGLang's, of its type.
PARTS = {"model_info", "get_model_info", "server_info", "get_server_info", "loads", "loads_core",
         "metrics", "generate", "generate_list", "generate_ids", "generate_stream"}  # fmt: skip
#: What routers, agents, dashboards and benchmarks read: never absent, in either engine.
METRICS = {
    "sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage",
    "sglang:num_used_tokens", "sglang:cache_hit_rate", "sglang:gen_throughput",
    "sglang:cached_tokens_total", "sglang:prompt_tokens_total", "sglang:generation_tokens_total",
    "sglang:time_to_first_token_seconds", "sglang:inter_token_latency_seconds",
    "sglang:e2e_request_latency_seconds", "sglang:queue_time_seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def stub() -> Iterator[httpx.Client]:
    """A stub engine in a thread."""
    loop = asyncio.new_event_loop()
    options = Options("m", "tiny", port=0, max_total_tokens=8192, itl_s=0.001)
    runner, port = loop.run_until_complete(start(options))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        yield client
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def hold_against(record: dict[str, Any], answer: dict[str, Any], case: Case) -> list[str]:
    """The differences, none where the answer is as recorded."""
    same = {key: value for key, value in record.items() if key != "shape"}
    told = {key: value for key, value in answer.items() if key != "shape"}
    problems = [] if same == told else [f"SGLang answers {same}, the stub {told}"]
    expected, actual = record.get("shape"), answer.get("shape")
    if case.name in PARTS:
        return problems + missing(expected, actual)
    return problems + ([] if expected == actual else [f"SGLang {expected}, the stub {actual}"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_stub_answers_as_recorded(stub: httpx.Client, case: Case) -> None:
    """Status, content type, fields and types equal those of SGLang 0.5.23; errors word by word."""
    record = json.loads(RECORD.read_text())[case.name]
    assert hold_against(record, ask(stub, case), case) == []


def test_the_metrics_that_others_read_are_there(stub: httpx.Client) -> None:
    """The names that routers, agents and dashboards read exist in SGLang and in the stub."""
    recorded = json.loads(RECORD.read_text())["metrics"]["shape"]
    case = next(case for case in CASES if case.name == "metrics")
    assert set(recorded) >= METRICS
    assert set(ask(stub, case)["shape"]) >= METRICS


@pytest.mark.engine
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_record_is_what_sglang_answers(case: Case) -> None:
    """A live SGLang at SGLCTL_ENGINE_URL (model `tiny`, context 4096) still answers as recorded."""
    url = os.environ.get("SGLCTL_ENGINE_URL")
    if not url:
        pytest.skip("no SGLCTL_ENGINE_URL; tests/e2e/test_containers.py runs these")
    record = json.loads(RECORD.read_text())[case.name]
    with httpx.Client(base_url=url, timeout=60) as client:
        live = ask(client, case)
    if case.name == "metrics":  # some counters exist only once what they count has happened
        shared = record["shape"].keys() & live["shape"].keys()
        assert shared >= METRICS
        assert {k: record["shape"][k] for k in shared} == {k: live["shape"][k] for k in shared}
    else:
        assert record == live
