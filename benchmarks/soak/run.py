"""One soak from start to verdict."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak.chaos import Chaos
from benchmarks.soak.clients import Clients
from benchmarks.soak.fleet import Fleet
from benchmarks.soak.outcomes import ACCOUNTED, Outcome
from benchmarks.soak.rest import Held, left_behind, settled

#: Before memory is measured first: code, pools and the prefix index have been touched by then.
_WARM_UP = 2_000
#: Growth that an allocator's fragments explain, per process; a leak grows with the requests.
GROWTH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Wanted:
    """The parameters of a soak."""

    requests: int = 100_000
    at_once: int = 48
    workers: int = 6
    processes: int = 1
    seed: int = 1


@dataclass
class Verdict:
    """What was seen; `problems` is empty when all is well."""

    outcomes: Counter[Outcome]
    chaos: Counter[str]
    seconds: float
    before: Held
    after: Held
    problems: list[str] = field(default_factory=list)


async def soak(wanted: Wanted) -> Verdict:
    """Raises SoakError when the soak itself cannot run."""
    with tempfile.TemporaryDirectory(prefix="sglctl-soak-") as folder:
        fleet = Fleet(Path(folder), wanted.workers, wanted.processes, wanted.seed)
        try:
            fleet.start()
            await fleet.until_ready(wanted.workers)
            return await _run(fleet, wanted)
        finally:
            fleet.close()


async def _run(fleet: Fleet, wanted: Wanted) -> Verdict:
    started = time.monotonic()
    warm_up = min(_WARM_UP, wanted.requests // 4)
    first, chaos = await _phase(fleet, wanted, warm_up, wanted.seed)
    at_rest = await left_behind(fleet)
    before = await settled(fleet)
    second, more = await _phase(fleet, wanted, wanted.requests - warm_up, wanted.seed + 1)
    at_rest += await left_behind(fleet)
    after = await settled(fleet)
    outcomes, happened = first.outcomes + second.outcomes, chaos.happened + more.happened
    verdict = Verdict(outcomes, happened, time.monotonic() - started, before, after)
    lost = wanted.requests - outcomes.total()
    verdict.problems = [
        *(f"{n} of: {outcome}" for outcome, n in outcomes.items() if outcome not in ACCOUNTED),
        *first.examples, *second.examples,
        *([f"{lost} requests without an outcome"] if lost else []),
        *(f"left behind at rest: {what}" for what in at_rest),
        *grown(before, after, wanted.processes),
    ]  # fmt: skip
    return verdict


async def _phase(fleet: Fleet, wanted: Wanted, count: int, seed: int) -> tuple[Clients, Chaos]:
    chaos = Chaos(fleet, seed)
    clients = Clients(fleet.url, chaos, seed, count, wanted.at_once)
    trouble = asyncio.create_task(chaos.run())
    try:
        serving = asyncio.create_task(clients.run())
        await asyncio.wait({trouble, serving}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            serving.cancel()
            await trouble  # it ends only by a fault of the soak's own
        await serving
    finally:
        trouble.cancel()
        with suppress(asyncio.CancelledError):
            await trouble
    await chaos.calm()
    return clients, chaos


def grown(before: Held, after: Held, processes: int) -> list[str]:
    """What the router did not give back."""
    problems = []
    if after.memory - before.memory > GROWTH_BYTES * processes:
        problems.append(f"memory grew from {before.memory} to {after.memory} bytes")
    if after.descriptors > before.descriptors:
        problems.append(f"descriptors grew from {before.descriptors} to {after.descriptors}")
    return problems
