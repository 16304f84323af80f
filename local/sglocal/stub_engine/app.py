"""Routes, errors, and the process: listen, drain on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from sglocal.stub_engine import info_api, native_api, openai_api
from sglocal.stub_engine.context import Engine, json_response
from sglocal.stub_engine.disaggregation import start_bootstrap
from sglocal.stub_engine.options import Options
from sglocal.stub_engine.replies import RequestError

logger = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_LARGEST_BODY = 256 * 1024 * 1024

_GET: dict[str, _Handler] = {
    "/health": info_api.health,
    "/health_generate": info_api.health_generate,
    "/v1/models": openai_api.models,
    "/v1/models/{name:.+}": openai_api.model,
    "/model_info": info_api.model_info,
    "/get_model_info": info_api.model_info,
    "/server_info": info_api.server_info,
    "/get_server_info": info_api.server_info,
    "/v1/loads": info_api.loads,
    "/metrics": info_api.prometheus,
    "/flush_cache": info_api.flush_cache,
    "/stub/state": info_api.stub_state,
}
_POST: dict[str, _Handler] = {
    "/v1/chat/completions": openai_api.chat,
    "/v1/completions": openai_api.text,
    "/generate": native_api.generate,
    "/tokenize": info_api.tokenize,
    "/v1/tokenize": info_api.tokenize,
    "/flush_cache": info_api.flush_cache,
    "/abort_request": info_api.abort_request,
    "/stub/faults": info_api.set_faults,
}


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every error in the shape SGLang gives it."""
    try:
        return await handler(request)
    except RequestError as error:
        return json_response(error.document(), error.status)
    except web.HTTPNotFound:
        return json_response({"detail": "Not Found"}, 404)
    except web.HTTPMethodNotAllowed as error:
        response = json_response({"detail": "Method Not Allowed"}, 405)
        response.headers["Allow"] = error.headers.get("Allow", "")
        return response


def make_app(options: Options) -> web.Application:
    """The engine as an aiohttp application (`app[Engine.KEY]`); needs `handler_cancellation`."""
    app = web.Application(middlewares=[_errors], client_max_size=_LARGEST_BODY)
    app[Engine.KEY] = Engine(options)
    if options.disaggregation_mode == "prefill":
        app.cleanup_ctx.append(_bootstrap)
    for path, handler in _GET.items():
        app.router.add_get(path, handler, allow_head=False)
    for path, handler in _POST.items():
        app.router.add_post(path, handler)
    return app


async def _bootstrap(app: web.Application) -> AsyncIterator[None]:
    runner = await start_bootstrap(app[Engine.KEY].meetings, app[Engine.KEY].options)
    yield
    await runner.cleanup()


async def start(options: Options) -> tuple[web.AppRunner, int]:
    """Listen; the port (options.port may be 0). Raises OSError when the port is taken."""
    app = make_app(options)
    # Cancellation is how a client that leaves frees its slot.
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0, handle_signals=False
    )
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port, backlog=1024)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])


async def serve(options: Options) -> None:
    """Serve until SIGTERM and every request has ended; SIGINT or a second SIGTERM end at once."""
    runner, port = await start(options)
    engine = runner.app[Engine.KEY]
    logger.info("stub engine of %s on %s:%d", options.served_model_name, options.host, port)
    drain, leave = asyncio.Event(), asyncio.Event()

    def on_sigint() -> None:
        drain.set()
        leave.set()

    def on_sigterm() -> None:
        if drain.is_set():
            leave.set()
        engine.draining = True
        drain.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, on_sigterm)
    loop.add_signal_handler(signal.SIGINT, on_sigint)
    await drain.wait()
    scheduler = engine.scheduler
    logger.info("draining: %d running, %d queued", scheduler.running, scheduler.queued)
    while (scheduler.running or scheduler.queued) and not leave.is_set():
        with contextlib.suppress(TimeoutError):  # its supervisor's stop timeout is the deadline
            await asyncio.wait_for(leave.wait(), 0.05)
    await runner.cleanup()
