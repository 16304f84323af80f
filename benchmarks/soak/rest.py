"""What the router holds when nobody asks: requests in flight, memory, file descriptors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.soak.fleet import Fleet, SoakError

#: The gauges that say that somebody is still served.
_GAUGES = (
    "sglrouter_in_flight",
    "sglrouter_queue_depth",
    "sglrouter_worker_in_flight",
    "sglrouter_client_connections",
)
REST_S = 30.0
#: Idle connections to workers are closed after 4 s (wire/upstream.py), looked at each 0.25 s.
IDLE_S = 6.0


@dataclass(frozen=True)
class Held:
    """Over all processes of the router: resident bytes, and open descriptors."""

    memory: int
    descriptors: int


def held(pids: Sequence[int]) -> Held:
    """Read from /proc."""
    page = os.sysconf("SC_PAGE_SIZE")
    memory = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in pids]
    return Held(sum(memory), sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids))


def of_router(fleet: Fleet) -> Held:
    assert fleet.router is not None
    return held([fleet.router.pid, *fleet.data_processes()])


async def left_behind(fleet: Fleet) -> list[str]:
    """Gauges and workers that are not at zero after REST_S; none is right."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REST_S
    async with aiohttp.ClientSession(trust_env=False) as session:
        while left := await _busy(session, fleet.admin):
            if loop.time() > deadline:
                break
            await asyncio.sleep(0.5)
    return left


async def _busy(session: aiohttp.ClientSession, admin: str) -> list[str]:
    try:
        async with session.get(f"{admin}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        async with session.get(f"{admin}/workers") as answer:
            workers: list[dict[str, Any]] = (await answer.json())["workers"]
    except (aiohttp.ClientError, OSError) as error:
        raise SoakError(f"the admin listener does not answer: {error}") from error
    gauges = [line for line in lines if line.startswith(_GAUGES)]
    if {line.partition("{")[0].partition(" ")[0] for line in gauges} != set(_GAUGES):
        raise SoakError(f"the metrics lack one of {', '.join(_GAUGES)}")
    busy = [line for line in gauges if float(line.rpartition(" ")[2])]
    return busy + [f"worker {row['id']}: {row['in_flight']}" for row in workers if row["in_flight"]]


async def settled(fleet: Fleet) -> Held:
    """What is held once the idle connections to workers are closed."""
    await asyncio.sleep(IDLE_S)
    return of_router(fleet)
