"""Prefill and decode stubs meet here: rooms on the prefill side, asked for by the decode side.

As in SGLang both get the same request, with `bootstrap_host`, `bootstrap_port` and
`bootstrap_room`. A prefill stub gives one token, and answers once a decode stub has taken the
room; a decode stub generates once the room's prefill is done, and only if its prompt is the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from aiohttp import web

from sglocal.stub_engine.options import Options
from sglocal.stub_engine.replies import Reply, RequestError

#: SGLang's peer that is not there: warm-ups and health checks name it.
FAKE_BOOTSTRAP_HOST = "2.2.2.2"
#: SGLang waits 300 s for the other side (SGLANG_DISAGGREGATION_WAITING_TIMEOUT).
MEETING_TIMEOUT_S = 300.0
_CONNECT_ATTEMPTS, _CONNECT_PAUSE_S = 5, 0.2


@dataclass
class _Room:
    """One request's meeting on the prefill side."""

    digest: str
    prefilled: asyncio.Event = field(default_factory=asyncio.Event)
    taken: asyncio.Event = field(default_factory=asyncio.Event)


class Meetings:
    """What of prefill and decode one stub engine does; nothing in mode "null"."""

    def __init__(self, options: Options) -> None:
        self._mode = options.disaggregation_mode
        self._rooms: dict[int, _Room] = {}
        self._arrived = asyncio.Condition()

    @asynccontextmanager
    async def pair(
        self, body: dict[str, Any], replies: Sequence[Reply]
    ) -> AsyncIterator[Sequence[Reply]]:
        """The replies this worker is to give. Raises RequestError where the two do not meet."""
        if self._mode == "null":
            yield replies
            return
        rooms, real = _rooms_of(body, replies)
        if self._mode == "decode":
            if real:
                await self._take(body, rooms, replies)
            yield replies
            return
        first = [replace(r, pieces=r.pieces[:1], finish="length", matched_stop=None)
                 for r in replies]  # fmt: skip
        if not real:
            yield first
            return
        async with self._offer(rooms, replies) as offered:
            yield first
            for room in offered:
                room.prefilled.set()
            await _within(asyncio.gather(*(room.taken.wait() for room in offered)))

    @asynccontextmanager
    async def _offer(
        self, rooms: Sequence[int], replies: Sequence[Reply]
    ) -> AsyncIterator[list[_Room]]:
        if taken := [room for room in rooms if room in self._rooms]:
            raise RequestError(f"bootstrap_room {taken[0]} is in use", status=500)
        offered = [_Room(_digest(reply)) for reply in replies]
        async with self._arrived:
            self._rooms.update(zip(rooms, offered, strict=True))
            self._arrived.notify_all()
        try:
            yield offered
        finally:
            for room in rooms:
                self._rooms.pop(room, None)

    async def _take(
        self, body: dict[str, Any], rooms: Sequence[int], replies: Sequence[Reply]
    ) -> None:
        hosts, ports = _each(body, "bootstrap_host", rooms), _each(body, "bootstrap_port", rooms)
        async with aiohttp.ClientSession(trust_env=False) as session:
            wanted = zip(hosts, ports, rooms, replies, strict=True)
            await asyncio.gather(*(
                _ask(session, f"http://{host}:{port}/stub/rooms/{room}?digest={_digest(reply)}")
                for host, port, room, reply in wanted
            ))  # fmt: skip

    async def route(self, _request: web.Request) -> web.Response:
        """GET /route of the bootstrap server: a decode worker's first question."""
        return web.json_response({"dp_size": 1, "attn_tp_size": 1, "follow_bootstrap_room": True})

    async def room(self, request: web.Request) -> web.Response:
        """GET /stub/rooms/N: 200 once the prefill is done, 409 when it was of another prompt."""
        number = int(request.match_info["room"])
        async with self._arrived:
            await _within(self._arrived.wait_for(lambda: number in self._rooms))
            room = self._rooms[number]
        if room.digest != request.query.get("digest"):
            return web.Response(status=409, text="the prefill worker got another prompt")
        await _within(room.prefilled.wait())
        room.taken.set()
        return web.Response()


async def start_bootstrap(meetings: Meetings, options: Options) -> web.AppRunner:
    """The prefill stub's second listener. Raises OSError when the port is taken."""
    app = web.Application()
    app.router.add_get("/route", meetings.route)
    app.router.add_get(r"/stub/rooms/{room:\d+}", meetings.room)
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1, handle_signals=False
    )
    await runner.setup()
    await web.TCPSite(runner, options.host, options.bootstrap_port, backlog=1024).start()
    return runner


async def _within(waiting: Any) -> None:
    try:
        await asyncio.wait_for(waiting, MEETING_TIMEOUT_S)
    except TimeoutError as error:
        raise RequestError("KVTransferError: the other side did not come", status=500) from error


async def _ask(session: aiohttp.ClientSession, url: str) -> None:
    timeout = aiohttp.ClientTimeout(total=MEETING_TIMEOUT_S)
    for attempt in range(_CONNECT_ATTEMPTS):
        try:
            async with session.get(url, timeout=timeout) as response:
                if response.status == 200:
                    return
                reason = await response.text()
                break
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            reason = str(error)
            await asyncio.sleep(_CONNECT_PAUSE_S * (attempt + 1))
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error)
            break
    raise RequestError(f"KVTransferError: {reason}", status=500, kind="InternalServerError")


def _rooms_of(body: dict[str, Any], replies: Sequence[Reply]) -> tuple[list[int], bool]:
    """A room per prompt (SGLang counts up from a single one), and whether a peer is meant."""
    if len({id(reply.prompt) for reply in replies}) != len(replies):
        raise RequestError("the stub engine pairs one choice a prompt; SGLang 0.5.23 hangs there")
    room = body.get("bootstrap_room")
    if room is None:
        raise RequestError(
            "Invalid request: Disaggregated request received without bootstrap room id."
            f" req.rid={replies[0].rid!r}"
        )
    rooms = [room + index for index in range(len(replies))] if isinstance(room, int) else room
    if not isinstance(rooms, list) or len(rooms) != len(replies):
        raise RequestError("bootstrap_room: expected a number, or one for each prompt")
    return rooms, body.get("bootstrap_host") != FAKE_BOOTSTRAP_HOST


def _each(body: dict[str, Any], key: str, rooms: Sequence[int]) -> list[Any]:
    value = body.get(key)
    values = value if isinstance(value, list) else [value] * len(rooms)
    if len(values) != len(rooms) or None in values:
        raise RequestError(f"{key}: expected one for each prompt")
    return values


def _digest(reply: Reply) -> str:
    return hashlib.sha256(json.dumps(list(reply.prompt)).encode()).hexdigest()
