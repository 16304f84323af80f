"""Command line: SGLang's flags that matter here, all its others accepted, and the timing model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Options:
    """One stub engine. Times in seconds, rates per second."""

    model_path: str
    served_model_name: str
    host: str = "127.0.0.1"
    port: int = 30000
    context_length: int = 4096
    max_running_requests: int = 32
    max_total_tokens: int = 65_536
    prefill_tokens_per_s: float = 20_000.0
    itl_s: float = 0.010
    start_s: float = 0.0
    seed: int = 0
    disaggregation_mode: Literal["null", "prefill", "decode"] = "null"
    bootstrap_port: int = 8998


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sglocal.stub_engine", description="SGLang's HTTP surface over a timing model."
    )
    add = parser.add_argument
    add("--model-path", "--model", required=True, help="told, never read")
    add("--served-model-name", help="default: the model path")
    add("--host", default=Options.host)
    add("--port", type=int, default=Options.port)
    add("--context-length", type=_count, default=Options.context_length)
    add("--max-running-requests", type=_count, default=Options.max_running_requests)
    add("--max-total-tokens", type=_count, default=Options.max_total_tokens)
    add("--random-seed", type=int, default=Options.seed)
    add("--disaggregation-mode", choices=("null", "prefill", "decode"),
        default=Options.disaggregation_mode)  # fmt: skip
    add("--disaggregation-bootstrap-port", type=int, default=Options.bootstrap_port)
    timing = parser.add_argument_group("timing model")
    add = timing.add_argument
    add("--stub-prefill-tokens-per-s", type=_positive, default=Options.prefill_tokens_per_s)
    add("--stub-itl-ms", type=_not_negative, default=Options.itl_s * 1e3,
        help="time between two tokens of a stream")  # fmt: skip
    add("--stub-start-s", type=_not_negative, default=Options.start_s,
        help="time until /health answers 200")  # fmt: skip
    return parser


def parse_options(argv: Sequence[str]) -> Options:
    """Parse; SGLang's other flags (`--tp 2`, `--enable-metrics`) are accepted and do nothing.

    A misspelt `--stub-…` flag is an error, as is a wrong value (exit 2).
    """
    parser = _parser()
    given, others = parser.parse_known_args(argv)
    if wrong := [flag for flag in others if flag.startswith("--stub-")]:
        parser.error(f"unknown flag {wrong[0]}; see --help")
    return Options(
        model_path=given.model_path,
        served_model_name=given.served_model_name or given.model_path,
        host=given.host,
        port=given.port,
        context_length=given.context_length,
        max_running_requests=given.max_running_requests,
        max_total_tokens=given.max_total_tokens,
        prefill_tokens_per_s=given.stub_prefill_tokens_per_s,
        itl_s=given.stub_itl_ms / 1e3,
        start_s=given.stub_start_s,
        seed=given.random_seed,
        disaggregation_mode=given.disaggregation_mode,
        bootstrap_port=given.disaggregation_bootstrap_port,
    )
