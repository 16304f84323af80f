"""The agent's HTTP server: state, health and metrics for all; drain and undrain for the host."""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Callable
from typing import Any

from aiohttp import web

from sglworker.errors import NotAllowedError
from sglworker.metrics import render
from sglworker.worker import Worker

_LONGEST_DRAIN_S = 172_800.0


def is_own(peer: str, local: str) -> bool:
    """Whether a connection from `peer` to `local` comes from this very host."""
    try:
        return ipaddress.ip_address(peer).is_loopback or peer == local
    except ValueError:
        return False


class Server:
    """Serves one worker. `drain(seconds or None)` and `undrain()` may raise NotAllowedError."""

    def __init__(
        self,
        worker: Worker,
        drain: Callable[[float | None], None],
        undrain: Callable[[], None],
    ) -> None:
        self._worker = worker
        self._drain = drain
        self._undrain = undrain
        self._runner: web.AppRunner | None = None

    async def listen(self, host: str, port: int) -> int:
        """Listen there (only there, from now on); the port. Raises OSError."""
        await self.close()
        app = web.Application(client_max_size=64 * 1024)
        app.router.add_get("/state", self._state)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/drain", self._post_drain)
        app.router.add_post("/undrain", self._post_undrain)
        app.router.add_post("/engine-started", self._post_engine_started)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1.0, handle_signals=False
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=1024).start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _state(self, _request: web.Request) -> web.Response:
        body = self._worker.document().model_dump_json()
        return web.Response(text=body, content_type="application/json")

    async def _health(self, _request: web.Request) -> web.Response:
        state = self._worker.state
        return web.json_response(
            {"status": "ok" if state in ("ready", "draining") else "unavailable", "state": state},
            status=200 if state in ("ready", "draining") else 503,
        )

    async def _metrics(self, _request: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=render(self._worker).encode(), headers=headers)

    async def _post_drain(self, request: web.Request) -> web.Response:
        if refused := _refuse_others(request):
            return refused
        try:
            deadline_s = _deadline(await request.read())
        except ValueError as error:
            return _error(400, str(error))
        return await self._act(request, lambda: self._drain(deadline_s))

    async def _post_undrain(self, request: web.Request) -> web.Response:
        return _refuse_others(request) or await self._act(request, self._undrain)

    async def _post_engine_started(self, request: web.Request) -> web.Response:
        if refused := _refuse_others(request):
            return refused
        try:
            self._worker.engine_started(_pid(await request.read()))
        except ValueError as error:
            return _error(400, str(error))
        return web.Response(status=204)

    async def _act(self, request: web.Request, action: Callable[[], None]) -> web.Response:
        try:
            action()
        except NotAllowedError as error:
            return _error(409, str(error))
        return await self._state(request)


def _refuse_others(request: web.Request) -> web.Response | None:
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport else None
    local = transport.get_extra_info("sockname") if transport else None
    if peer and local and is_own(str(peer[0]), str(local[0])):
        return None
    return _error(403, "only the host itself may do this; use `sglworker` there")


def _deadline(raw: bytes) -> float | None:
    """`{"deadline_s": 60}` of a drain; an empty body means the fleet's deadline."""
    if not raw.strip():
        return None
    body: Any = json.loads(raw)
    if not isinstance(body, dict) or set(body) - {"deadline_s"}:
        raise ValueError('expected {"deadline_s": seconds} or nothing')
    value = body.get("deadline_s")
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= _LONGEST_DRAIN_S:
        raise ValueError(f"deadline_s: expected seconds from 0 to {_LONGEST_DRAIN_S:g}")
    return float(value)


def _pid(raw: bytes) -> int:
    """`{"pid": 4711}`."""
    body: Any = json.loads(raw)
    pid = body.get("pid") if isinstance(body, dict) else None
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
        raise ValueError('expected {"pid": process id}')
    return pid


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)
