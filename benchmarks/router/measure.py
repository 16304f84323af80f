"""The measurements: each loads its routers in turn, round after round (A B C A B C), so that
what else the machine does meanwhile falls on all of them alike.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from benchmarks.router.lab import Lab, RunError, Subject
from benchmarks.router.peers import NGINX, OURS, OURS_TWO, SGLANG, SMG
from benchmarks.router.processes import members

ALL = (OURS, NGINX, SGLANG, SMG)
DIRECT = "direct"  # the generator asks a worker itself


@dataclass(frozen=True)
class Scale:
    """How much is sent; `QUICK` only shows that everything works."""

    rounds: int = 5
    requests: int = 20_000
    warm: int = 2_000
    large: int = 5_000
    streams: int = 100
    tokens: int = 250
    serial: int = 1_000
    memory: int = 10_000
    paced: int = 1_000
    rate: float = 200.0
    connections: int = 2_000


QUICK = Scale(1, 500, 100, 200, 10, 20, 100, 500, 50, 100.0, 100)
SMALL_BYTES, LARGE_BYTES = 2048, 65536
# Enough to keep a core busy: what a request costs matters most when the core is what limits.
_IN_FLIGHT = 32


@dataclass
class Samples:
    """`values[measure][router]`: one number per round; `unit` of each measure."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    errors: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, measure: str, router: str, value: float) -> None:
        self.values.setdefault(measure, {}).setdefault(router, []).append(value)

    def charge(self, measure: str, router: str, errors: float) -> None:
        """Count failed requests: figures with any rest on fewer answers than asked for."""
        of = self.errors.setdefault(measure, {})
        of[router] = of.get(router, 0) + int(errors)


Step = Callable[[Lab, Subject], Awaitable[None]]


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


async def in_turn(
    lab: Lab, names: Sequence[str], rounds: int, warm: Step | None, step: Step
) -> None:
    """Start all, warm each, then `step` on each in turn, `rounds` times."""
    async with AsyncExitStack() as stack:
        subjects = [await stack.enter_async_context(lab.router(name)) for name in names]
        for subject in subjects if warm else ():
            assert warm is not None
            await warm(lab, subject)
        for _ in range(rounds):
            for subject in subjects:
                await step(lab, subject)
                if not subject.program.alive:
                    raise RunError(f"{subject.name} ended:\n{subject.program.tail()}")


async def requests(
    lab: Lab, samples: Samples, scale: Scale, size: int, names: Sequence[str]
) -> None:
    """CPU µs per request in a closed loop: `request_2k_cpu_us`, `request_64k_cpu_us`."""
    small = size == SMALL_BYTES
    measure = "request_2k_cpu_us" if small else "request_64k_cpu_us"
    count = scale.requests if small else scale.large

    async def load(lab: Lab, subject: Subject, count: int) -> None:
        figures = await lab.job(
            "closed", subject.port, requests=count, connections=_IN_FLIGHT, size=size
        )
        samples.charge(measure, subject.name, figures["errors"])

    async def warm(lab: Lab, subject: Subject) -> None:
        await load(lab, subject, scale.warm if small else scale.warm // 4)

    async def step(lab: Lab, subject: Subject) -> None:
        before = subject.usage().cpu_s
        await load(lab, subject, count)
        spent = subject.usage().cpu_s - before
        samples.add(measure, subject.name, spent / count * 1e6)

    await in_turn(lab, names, scale.rounds, warm, step)


async def tokens(lab: Lab, samples: Samples, scale: Scale, names: Sequence[str]) -> None:
    """CPU µs per streamed event: many slow streams, their opening included (below 1 %)."""

    async def step(lab: Lab, subject: Subject) -> None:
        before = subject.usage().cpu_s
        figures = await lab.job(
            "streams", subject.port, streams=scale.streams, tokens=scale.tokens, size=SMALL_BYTES
        )
        spent = subject.usage().cpu_s - before
        samples.charge("tokens", subject.name, figures["errors"])
        if figures["events"] < scale.streams * scale.tokens:
            samples.charge("tokens", subject.name, 1)
        samples.add("token_cpu_us", subject.name, spent / max(figures["events"], 1) * 1e6)

    await in_turn(lab, names, scale.rounds, None, step)


async def latency(lab: Lab, samples: Samples, scale: Scale, names: Sequence[str]) -> None:
    """Median µs that a router adds at one connection: through it, less without it."""

    async def p50(port: int, name: str) -> float:
        figures = await lab.job("serial", port, requests=scale.serial, size=SMALL_BYTES)
        samples.charge("latency", name, figures["errors"])
        return figures["p50_us"]

    async def step(lab: Lab, subject: Subject) -> None:
        direct = await p50(lab.workers[0], DIRECT)
        samples.add("direct_p50_us", DIRECT, direct)
        samples.add("added_p50_us", subject.name, await p50(subject.port, subject.name) - direct)

    async def warm(lab: Lab, subject: Subject) -> None:
        await p50(subject.port, subject.name)

    await in_turn(lab, names, 2 * scale.rounds - 1, warm, step)


async def memory(lab: Lab, samples: Samples, scale: Scale, names: Sequence[str]) -> None:
    """Resident bytes per unique prompt of a fresh router, after it was warmed."""
    for name in names:
        async with lab.router(name) as subject:
            await _grow(lab, samples, subject, scale.warm)
            grown = await _grow(lab, samples, subject, scale.memory)
            samples.add("memory_bytes", name, grown / scale.memory)


async def memory_at_cap(lab: Lab, samples: Samples, scale: Scale, names: Sequence[str]) -> None:
    """Bytes our router grows by once a small index is full several times over."""
    affinity = {"index_bytes": 256 * 1024}  # 16,384 blocks: a few thousand prompts fill it
    async with lab.router(OURS, affinity=affinity) as subject:
        await _grow(lab, samples, subject, scale.memory)
        grown = await _grow(lab, samples, subject, scale.memory)
        samples.add("memory_at_cap_bytes", OURS, grown)


async def _grow(lab: Lab, samples: Samples, subject: Subject, count: int) -> float:
    before = subject.usage().resident
    figures = await lab.job(
        "closed", subject.port, requests=count, connections=_IN_FLIGHT, size=SMALL_BYTES
    )
    samples.charge("memory", subject.name, figures["errors"])
    return subject.usage().resident - before


async def pace(lab: Lab, samples: Samples, scale: Scale, names: Sequence[str]) -> None:
    """p99 at a rate all of them hold, from the scheduled arrival. No line rests on it."""

    async def step(lab: Lab, subject: Subject) -> None:
        figures = await lab.job(
            "rate",
            subject.port,
            requests=scale.paced,
            rate=scale.rate,
            connections=_IN_FLIGHT,
            size=SMALL_BYTES,
        )
        samples.charge("pace", subject.name, figures["errors"])
        samples.add("paced_p99_us", subject.name, figures["p99_us"])

    await in_turn(lab, names, scale.rounds, None, step)


async def connections(lab: Lab, samples: Samples, scale: Scale, names: Sequence[str]) -> None:
    """Thousands of connects in one moment: slowest connect (ms), stalled ones, failed requests."""

    async def step(lab: Lab, subject: Subject) -> None:
        figures = await lab.job(
            "connects", subject.port, connections=scale.connections, size=SMALL_BYTES
        )
        samples.add("connect_max_ms", subject.name, figures["connect_max_ms"])
        samples.add("connect_stalled", subject.name, figures["stalled"])
        samples.add("connect_errors", subject.name, figures["errors"])
        samples.charge("connections", subject.name, figures["errors"])

    await in_turn(lab, names, scale.rounds, None, step)


async def small_requests(lab: Lab, samples: Samples, scale: Scale, names: Sequence[str]) -> None:
    await requests(lab, samples, scale, SMALL_BYTES, names)


async def large_requests(lab: Lab, samples: Samples, scale: Scale, names: Sequence[str]) -> None:
    await requests(lab, samples, scale, LARGE_BYTES, names)


async def two_processes(lab: Lab, samples: Samples, scale: Scale, names: Sequence[str]) -> None:
    """As `requests`, one process of ours against two on the same core.

    Started anew for each round: what is compared hangs on the caches, and on where in memory a
    process happened to land.
    """
    async with lab.router(OURS_TWO) as subject:
        if len(members(subject.program.process.pid)) < 2:
            raise RunError("our router was asked for two processes and has one")
    own = Samples()
    for _ in range(2 * scale.rounds):
        await requests(lab, own, replace(scale, rounds=1), SMALL_BYTES, names)
    for router, values in own.values["request_2k_cpu_us"].items():
        for value in values:
            samples.add("processes_cpu_us", router, value)
    for router, errors in own.errors["request_2k_cpu_us"].items():
        samples.charge("processes", router, errors)


Measurement = Callable[[Lab, Samples, Scale, Sequence[str]], Awaitable[None]]
MEASUREMENTS: dict[str, tuple[Measurement, tuple[str, ...]]] = {
    "requests": (small_requests, ALL),
    "processes": (two_processes, (OURS, OURS_TWO)),
    "tokens": (tokens, ALL),
    "latency": (latency, ALL),
    "pace": (pace, ALL),
    "large": (large_requests, ALL),
    "memory": (memory, ALL),
    "cap": (memory_at_cap, (OURS,)),
    "connections": (connections, ALL),
}
