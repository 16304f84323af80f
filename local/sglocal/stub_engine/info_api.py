"""Health, what the engine is and how busy, its cache, and the stub's own faults and state."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from sglocal.stub_engine import SGLANG_VERSION, metrics, tokens
from sglocal.stub_engine.context import Engine, json_response, read_json
from sglocal.stub_engine.faults import FaultError
from sglocal.stub_engine.replies import RequestError


async def health(request: web.Request) -> web.Response:
    """GET /health: 200 with no body, 503 while starting or draining."""
    return web.Response(status=200 if Engine.of(request).healthy else 503)


async def health_generate(request: web.Request) -> web.Response:
    """GET /health_generate: as /health; 503, too, where a fault lets nothing be generated."""
    engine = Engine.of(request)
    well = engine.healthy and not engine.faults.hang_before_first_byte
    return web.Response(status=200 if well else 503)


async def model_info(request: web.Request) -> web.Response:
    """GET /model_info, /get_model_info."""
    options = Engine.of(request).options
    return json_response({
        "model_path": options.model_path,
        "served_model_name": options.served_model_name,
        "tokenizer_path": options.model_path,
        "is_generation": True,
        "preferred_sampling_params": None,
        "weight_version": "default",
        "load_format": "auto",
        "reasoning_parser": None,
        "tool_call_parser": None,
        "disaggregation_mode": options.disaggregation_mode,
        "has_image_understanding": False,
        "has_audio_understanding": False,
        "model_type": "stub",
        "architectures": ["StubForCausalLM"],
    })  # fmt: skip


async def server_info(request: web.Request) -> web.Response:
    """GET /server_info, /get_server_info: the keys that tools read."""
    engine = Engine.of(request)
    options = engine.options
    common = {
        "model_path": options.model_path,
        "tokenizer_path": options.model_path,
        "served_model_name": options.served_model_name,
        "context_length": options.context_length,
        "max_running_requests": options.max_running_requests,
        "max_total_tokens": options.max_total_tokens,
        "host": options.host,
        "port": options.port,
        "tp_size": 1,
        "dp_size": 1,
        "page_size": 1,
        "device": "cpu",
        "disaggregation_mode": options.disaggregation_mode,
        "disaggregation_bootstrap_port": options.bootstrap_port,
        "random_seed": options.seed,
    }
    internal = common | {
        "effective_max_running_requests_per_dp": options.max_running_requests,
        "last_gen_throughput": engine.scheduler.statistics.gen_throughput(),
        "memory_usage": {
            "weight": 0.0,
            "kvcache": 0.0,
            "startup_available": 0.0,
            "token_capacity": options.max_total_tokens,
        },
    }
    return json_response({
        **common,
        "status": "ready" if engine.healthy else "starting",
        "max_total_num_tokens": options.max_total_tokens,
        "max_req_input_len": options.context_length - 1,
        "internal_states": [internal],
        "version": SGLANG_VERSION,
        "frontend": "python",
    })  # fmt: skip


async def loads(request: web.Request) -> web.Response:
    """GET /v1/loads: one data-parallel rank."""
    engine = Engine.of(request)
    scheduler, options, now = engine.scheduler, engine.options, datetime.now(UTC)
    load: dict[str, Any] = {
        "timestamp": now.timestamp(),
        "dp_rank": 0,
        "num_running_reqs": scheduler.running,
        "num_waiting_reqs": scheduler.queued,
        "num_used_tokens": scheduler.used_tokens,
        "num_total_tokens": scheduler.used_tokens,
        "max_total_num_tokens": options.max_total_tokens,
        "max_running_requests": options.max_running_requests,
        "token_usage": scheduler.token_usage,
        "gen_throughput": scheduler.statistics.gen_throughput(),
        "cache_hit_rate": scheduler.statistics.cache_hit_rate(),
        "utilization": min(1.0, scheduler.running / options.max_running_requests),
    }
    if "core" not in request.query.get("include", "all").split(","):
        load["queues"] = {"waiting": scheduler.queued, "grammar": 0, "paused": 0, "retracted": 0}
    return json_response({
        "timestamp": now.isoformat(),
        "version": SGLANG_VERSION,
        "accelerator": None,
        "num_accelerators": 1,
        "loads": [load],
    })  # fmt: skip


async def prometheus(request: web.Request) -> web.Response:
    """GET /metrics."""
    text = metrics.render(Engine.of(request).scheduler)
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return web.Response(body=text.encode(), headers={"Content-Type": kind})


async def tokenize(request: web.Request) -> web.Response:
    """POST /tokenize, /v1/tokenize."""
    engine, body = Engine.of(request), await read_json(request, required="prompt")
    if not isinstance(body["prompt"], str):
        raise RequestError("the stub engine tokenizes one text")
    ids = tokens.encode(body["prompt"])
    limit = engine.options.context_length
    return json_response({"tokens": ids, "count": len(ids), "max_model_len": limit})


async def flush_cache(request: web.Request) -> web.Response:
    """GET, POST /flush_cache: 400 while requests run, as SGLang."""
    scheduler = Engine.of(request).scheduler
    idle = not scheduler.running and not scheduler.queued
    if idle:
        scheduler.cache.clear()
    text = (
        f"Cache {'' if idle else 'not '}flushed.\nPlease check backend logs for more details."
        " (When there are running or waiting requests, the operation will not be performed.)\n"
    )
    return web.Response(body=text.encode(), status=200 if idle else 400)


async def abort_request(request: web.Request) -> web.Response:
    """POST /abort_request: end the request of a `rid`, or all; 200 also when there is none."""
    engine, body = Engine.of(request), await read_json(request)
    rid = body.get("rid")
    if body.get("abort_all"):
        engine.scheduler.abort(None)
    elif isinstance(rid, str) and rid:
        engine.scheduler.abort(rid)
    return web.Response()


async def set_faults(request: web.Request) -> web.Response:
    """POST /stub/faults: change the given faults; answers all of them."""
    engine, body = Engine.of(request), await read_json(request)
    try:
        engine.faults.change(body)
    except FaultError as error:
        raise RequestError(str(error)) from error
    if engine.faults.die:
        engine.die_soon()
    return json_response(dataclasses.asdict(engine.faults))


async def stub_state(request: web.Request) -> web.Response:
    """GET /stub/state: what tests ask."""
    engine = Engine.of(request)
    scheduler = engine.scheduler
    return json_response({
        "running": scheduler.running,
        "queued": scheduler.queued,
        "used_tokens": scheduler.used_tokens,
        "cached_tokens": scheduler.cache.tokens,
        "served": engine.served,
        "failed": engine.failed,
        "draining": engine.draining,
        "faults": dataclasses.asdict(engine.faults),
        "options": dataclasses.asdict(engine.options),
    })  # fmt: skip
