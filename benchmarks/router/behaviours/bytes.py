"""Scenarios about what arrives: bodies, headers, framing."""

from __future__ import annotations

import asyncio
import json
import re

from benchmarks.router.behaviours.scripted import ask, chat, post
from benchmarks.router.behaviours.stage import Stage
from benchmarks.router.worker import MODEL

_ODD = (
    b'{ "model":"' + MODEL.encode() + b'",\n  "messages" : [{"role":"user","content":"h\\u00e9"}],'
    b'\t"temperature": 0.70, "x_own": {"a": 1.0e2} }'
)


async def body_unchanged(stage: Stage) -> str:
    reply = await stage.ask(post(_ODD))
    if not stage.workers[0].requests:
        return f"refused with {reply.status}"
    got = stage.workers[0].requests[-1].body
    if got == _ODD:
        return "byte for byte"
    try:
        kept = "x_own" in json.loads(got)
    except ValueError:
        return "arrives broken"
    return f"written anew, unknown field {'kept' if kept else 'dropped'}"


async def header_unchanged(stage: Stage) -> str:
    await stage.ask(post(chat(), "X-Own-Header: CaSe 1\r\n"))
    head = stage.workers[0].requests[-1].head
    if b"X-Own-Header: CaSe 1" in head:
        return "as sent"
    found = re.search(rb"x-own-header:\s*(.*)\r\n", head, re.IGNORECASE)
    return f"arrives as {found[0].decode().strip()}" if found else "dropped"


async def large_body(stage: Stage) -> str:
    size = 64 * 1024 * 1024 - 4096
    reply = await stage.ask(post(chat("x" * size)), timeout_s=60)
    whole = bool(stage.workers[0].requests) and len(stage.workers[0].requests[-1].body) > size
    return f"{reply.status or 'no answer'}{', whole' if whole else ''}"


async def expect_continue(stage: Stage) -> str:
    request = post(chat(), "Expect: 100-continue\r\n")
    head, _, body = request.partition(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    try:
        writer.write(head + b"\r\n\r\n")
        try:
            async with asyncio.timeout(2):
                first = await reader.readuntil(b"\r\n\r\n")
        except (TimeoutError, asyncio.IncompleteReadError):
            return "no 100 within 2 s"
        writer.write(body)
        async with asyncio.timeout(5):
            second = await reader.readuntil(b"\r\n")
    except (TimeoutError, asyncio.IncompleteReadError):
        return "100, then nothing"
    finally:
        writer.transport.abort()
    return f"{first.split()[1].decode()}, then {second.split()[1].decode()}"


async def _smuggle(stage: Stage, request: bytes) -> str:
    """Whether an ambiguous request reaches a worker."""
    reply = await ask(stage.port, request, timeout_s=4)
    await asyncio.sleep(0.1)
    arrived = len(stage.workers[0].requests)
    told = f"{reply.status}" if reply.status else "closed without an answer"
    return f"{told}, {'passed on' if arrived else 'not passed on'}"


async def length_and_chunked(stage: Stage) -> str:
    body = json.dumps(chat()).encode()
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = post(
        b"", f"Content-Length: {len(chunked)}\r\nTransfer-Encoding: chunked\r\n", length=False
    )
    return await _smuggle(stage, head + chunked)


async def two_lengths(stage: Stage) -> str:
    body = json.dumps(chat()).encode()
    return await _smuggle(stage, post(body, f"Content-Length: {len(body) + 1}\r\n"))


async def bare_line_feed(stage: Stage) -> str:
    body = json.dumps(chat()).encode()
    return await _smuggle(stage, post(body, "X-A: 1\nX-B: 2\r\n"))


async def unknown_model(stage: Stage) -> str:
    reply = await stage.ask(post({**chat(), "model": "no-such-model"}))
    if stage.workers[0].requests:
        return "passed on to a worker"
    shape = f"`{reply.error_code}`" if reply.error_code else "not in OpenAI's shape"
    return f"{reply.status}, {shape}"
