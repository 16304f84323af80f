"""The lines about hit ratio: what benchmarks/policy_sim.py finds, run beside the measurements."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.router.lab import RunError
from benchmarks.router.peers import ROOT
from benchmarks.router.processes import cores, program

_RUN_S = 1800.0


@dataclass(frozen=True)
class SimulatedLine:
    """A line as the simulation judged it, against one pooled cache or one router: the median of
    its seeds and the worst."""

    workload: str
    what: str
    value: float
    worst: float
    bound: str
    passed: bool


async def simulate() -> list[SimulatedLine]:
    """Every workload of benchmarks/workloads with this package's policy. Raises RunError."""
    argv = [sys.executable, "-m", "benchmarks.policy_sim", "--output", "json"]
    argv += ["--policy", "pooled", "--policy", "prefix_aware"]
    environment = {"PYTHONPATH": str(ROOT)}
    async with program(argv, core=cores()[0], environment=environment, piped=True) as running:
        async with asyncio.timeout(_RUN_S):
            output, _ = await running.process.communicate()
    return parse(output)


def parse(output: bytes) -> list[SimulatedLine]:
    """The lines in the simulation's JSON; raises RunError when it holds none."""
    try:
        document: dict[str, Any] = json.loads(output)
        lines = [SimulatedLine(**line) for line in document["lines"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"the simulation gave no lines: {error}") from error
    if not lines:
        raise RunError("the simulation judged nothing")
    return lines
