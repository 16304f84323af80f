"""`GET /metrics`: the part of SGLang's metrics that routers, agents and dashboards read."""

from __future__ import annotations

from sglocal.stub_engine.scheduler import Scheduler
from sglocal.stub_engine.statistics import Histogram

_RANK = 'engine_type="unified",model_name="{model}",moe_ep_rank="0",pp_rank="0",tp_rank="0"'
_PLAIN = 'engine_type="unified",model_name="{model}"'


def render(scheduler: Scheduler) -> str:
    """Prometheus text, format 0.0.4."""
    model = scheduler.options.served_model_name.replace("\\", "\\\\").replace('"', '\\"')
    lines = [*_gauges(scheduler, model), *_counters(scheduler, model), *_times(scheduler, model)]
    return "\n".join(lines) + "\n"


def _gauges(scheduler: Scheduler, model: str) -> list[str]:
    options, labels = scheduler.options, _RANK.format(model=model)
    used = scheduler.used_tokens
    values = {
        "num_running_reqs": ("The number of running requests.", scheduler.running),
        "num_queue_reqs": ("The number of requests in the waiting queue.", scheduler.queued),
        "num_used_tokens": ("The number of used tokens.", used),
        "token_usage": ("The token usage.", scheduler.token_usage),
        "max_total_num_tokens": ("The KV cache in tokens.", options.max_total_tokens),
        "context_len": ("The context length.", options.context_length),
        "gen_throughput": (
            "The generation throughput (token/s).",
            scheduler.statistics.gen_throughput(),
        ),
        "cache_hit_rate": ("The prefix cache hit rate.", scheduler.statistics.cache_hit_rate()),
    }
    lines: list[str] = []
    for name, (text, value) in values.items():
        lines += [f"# HELP sglang:{name} {text}", f"# TYPE sglang:{name} gauge"]
        lines.append(f"sglang:{name}{{{labels}}} {float(value)}")
    return lines


def _counters(scheduler: Scheduler, model: str) -> list[str]:
    numbers, plain = scheduler.statistics, _PLAIN.format(model=model)
    by_streaming = {
        "prompt_tokens": ("Number of prefill tokens processed.", numbers.prompt_tokens),
        "generation_tokens": ("Number of generation tokens.", numbers.generated_tokens),
        "num_requests": ("Number of requests processed.", numbers.requests),
    }
    lines: list[str] = []
    for name, (text, values) in by_streaming.items():
        lines += [f"# HELP sglang:{name}_total {text}", f"# TYPE sglang:{name}_total counter"]
        for flag, value in values.items():
            labels = f'{plain},is_streaming="{str(flag).lower()}"'
            lines.append(f"sglang:{name}_total{{{labels}}} {float(value)}")
    name = "sglang:cached_tokens_total"
    lines += [f"# HELP {name} Number of cached prompt tokens.", f"# TYPE {name} counter"]
    return [*lines, f'{name}{{cache_source="device",{plain}}} {float(numbers.cached_tokens)}']


def _times(scheduler: Scheduler, model: str) -> list[str]:
    numbers, plain = scheduler.statistics, _PLAIN.format(model=model)
    histograms: dict[str, tuple[str, dict[str, Histogram]]] = {
        "time_to_first_token_seconds": ("Time to first token.", _by(numbers.ttft, plain)),
        "e2e_request_latency_seconds": ("End-to-end request latency.", _by(numbers.e2e, plain)),
        "inter_token_latency_seconds": ("Inter-token latency.", {plain: numbers.itl}),
        "queue_time_seconds": (
            "Queueing time.",
            {_RANK.format(model=model): numbers.queue_time},
        ),
    }
    lines: list[str] = []
    for name, (text, series) in histograms.items():
        lines += [f"# HELP sglang:{name} {text}", f"# TYPE sglang:{name} histogram"]
        for labels, histogram in series.items():
            lines += histogram.lines(f"sglang:{name}", labels)
    return lines


def _by(values: dict[bool, Histogram], plain: str) -> dict[str, Histogram]:
    return {f'{plain},is_streaming="{str(flag).lower()}"': h for flag, h in values.items()}
