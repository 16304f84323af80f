"""Scenarios about workers that fail, leave or are slow, and clients that go."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from benchmarks.router.behaviours.scripted import (
    Reply,
    after,
    chat,
    post,
    reset,
    status,
    stream,
)
from benchmarks.router.behaviours.stage import Stage
from benchmarks.router.connects import STALL_S, connect_at_once

_STREAM = post(chat(stream=True))


async def slow_stream(stage: Stage) -> str:
    stage.workers[0].handler = stream(12, 1.0)
    reply = await stage.ask(_STREAM, timeout_s=30)
    whole = reply.complete and reply.body.count(b'"content"') == 12 and b"[DONE]" in reply.body
    return f"whole after {reply.seconds:.0f} s" if whole else f"cut after {reply.seconds:.0f} s"


async def dies_mid_stream(stage: Stage) -> str:
    stage.workers[0].handler = stream(3, 0.1, dies=True)
    return how_it_ended(await stage.ask(_STREAM, timeout_s=10))


def how_it_ended(reply: Reply) -> str:
    """What an SSE client can tell from the bytes it got."""
    done = b"[DONE]" in reply.body
    if b'"error"' in reply.body:
        return "error event, then [DONE]" if done else "error event, no [DONE]"
    if done:
        return "[DONE], as if complete"
    return "ends as if complete" if reply.complete else "connection cut, no word"


async def _failed(stage: Stage, count: int) -> str:
    """Requests one after the other; how many did not get their 200."""
    replies = [await stage.ask(post(chat(f"prompt {i} " * 50)), 10) for i in range(count)]
    bad = [reply for reply in replies if reply.status != 200]
    slowest = max(reply.seconds for reply in replies)
    return f"{len(bad)} of {count} failed, slowest {slowest:.1f} s"


async def resetting_worker(stage: Stage) -> str:
    stage.workers[0].handler = reset
    return await _failed(stage, 20)


async def unavailable_worker(stage: Stage) -> str:
    stage.workers[0].handler = status("503 Service Unavailable")
    return await _failed(stage, 20)


async def erring_worker(stage: Stage) -> str:
    """A 500 is the engine's word on this request: whether to ask again is a choice."""
    stage.workers[0].handler = status("500 Internal Server Error")
    return await _failed(stage, 20)


async def dead_at_start(stage: Stage) -> str:
    if stage.ready_s == float("inf"):
        return "never answers"
    return f"first answer after {stage.ready_s:.0f} s; {await _failed(stage, 20)}"


async def client_gone(stage: Stage) -> str:
    return await _gone(stage, _STREAM)


async def plain_client_gone(stage: Stage) -> str:
    return await _gone(stage, post(chat()))


async def _gone(stage: Stage, request: bytes) -> str:
    """A client that leaves while the worker has not begun to answer."""
    worker = stage.workers[0]
    worker.handler = after(10)
    _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(request)
    for _ in range(500):
        if worker.requests:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    left = time.perf_counter()
    writer.transport.abort()
    for _ in range(500):
        if worker.gone_at:
            return f"cancelled after {max(worker.gone_at - left, 0) * 1000:.0f} ms"
        await asyncio.sleep(0.01)
    return "not cancelled within 5 s"


async def _connects(stage: Stage, count: int) -> str:
    sockets, waits = await asyncio.to_thread(connect_at_once, stage.port, count)
    for sock in sockets:
        sock.close()
    stalled = count - len(sockets) + sum(wait > STALL_S for wait in waits)
    return f"{stalled} stalled, slowest {max(waits, default=0) * 1000:.0f} ms"


async def connects_200(stage: Stage) -> str:
    return await _connects(stage, 200)


async def connects_2000(stage: Stage) -> str:
    return await _connects(stage, 2000)


async def drain(stage: Stage) -> str:
    """A worker is taken out while it streams."""
    for worker in stage.workers:
        worker.handler = stream(40, 0.2)
    running = asyncio.ensure_future(stage.ask(_STREAM, timeout_s=20))
    await asyncio.sleep(0.5)
    busy = next(worker for worker in stage.workers if worker.requests)
    how = await stage.drain(busy)
    before = len(busy.requests)
    for worker in stage.workers:
        if worker is not busy:
            worker.handler = after(0)
    replies = [await stage.ask(post(chat(f"{i} " * 50)), 3) for i in range(10)]
    late, good = len(busy.requests) - before, sum(r.status == 200 for r in replies)
    whole = b"[DONE]" in (await running).body
    kept = "stream kept" if whole else "stream cut"
    return f"{kept}; {late} of 10 new ones sent to it, {good} answered ({how})"


async def saturation(stage: Stage) -> str:
    """One at a time, two may wait for one second; six come at once."""
    stage.workers[0].handler = after(3)
    replies = await asyncio.gather(*(stage.ask(post(chat(f"{i}")), 15) for i in range(6)))
    most = len(stage.workers[0].requests)
    statuses = Counter(reply.status for reply in replies)
    refused = [reply for reply in replies if reply.status != 200]
    told = sum("retry-after" in reply.headers for reply in refused)
    text = ", ".join(f"{n} x {status or 'cut'}" for status, n in sorted(statuses.items()))
    after_text = f"; Retry-After on {told} of {len(refused)}" if refused else ""
    return f"{text}{after_text}; {most} reached the worker"


async def one_slow(stage: Stage) -> str:
    """One of four workers takes 1 s, the others 10 ms: 80 requests, eight at a time."""
    slow = stage.workers[0]
    for worker in stage.workers:
        worker.handler = after(1.0 if worker is slow else 0.01)
    gate = asyncio.Semaphore(8)

    async def one(number: int) -> None:
        async with gate:
            await stage.ask(post(chat(f"{number} unique prompt " * 20)), 30)

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(80)))
    took = time.perf_counter() - started
    return f"{len(slow.requests)} of 80 went to it, all done in {took:.1f} s"
