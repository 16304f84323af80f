"""What every handler needs: the engine, its faults, JSON in and out."""

from __future__ import annotations

import json
import math
import os
import random
import time
from dataclasses import replace
from typing import Any

from aiohttp import web

from sglocal.stub_engine.disaggregation import Meetings
from sglocal.stub_engine.faults import Faults
from sglocal.stub_engine.options import Options
from sglocal.stub_engine.replies import RequestError
from sglocal.stub_engine.scheduler import Scheduler
from sglocal.stub_engine.streams import dump


class Engine:
    """One stub engine: options, timing model, faults."""

    KEY: web.AppKey[Engine] = web.AppKey("engine")

    def __init__(self, options: Options) -> None:
        self.options = options
        self.faults = Faults()
        # A decode worker gets its prompts' cache over the network: no prefill of its own.
        decode = options.disaggregation_mode == "decode"
        timing = replace(options, prefill_tokens_per_s=math.inf) if decode else options
        self.scheduler = Scheduler(timing, self.faults)
        self.meetings = Meetings(options)
        self.draining = False
        self.started_at = time.monotonic()
        self.served = 0
        self.failed = 0
        self._rng = random.Random(options.seed)  # noqa: S311 - which request fails, no secret

    @classmethod
    def of(cls, request: web.Request) -> Engine:
        return request.app[cls.KEY]

    @property
    def healthy(self) -> bool:
        """Started, not draining, and no fault says otherwise."""
        started = time.monotonic() - self.started_at >= self.options.start_s
        return started and not self.draining and not self.faults.unhealthy

    def faults_before_answer(self) -> None:
        """Count the request, and raise what it is to fail with."""
        self.served += 1
        faults = self.faults
        fail = faults.error_next > 0 or self._rng.random() < faults.error_rate
        faults.error_next = max(0, faults.error_next - 1)
        if fail:
            self.failed += 1
            raise RequestError("stub fault: error", status=500, kind="InternalServerError")

    def die_soon(self) -> None:
        """End the process as kill -9 does, once the answer to the request is out."""
        import asyncio

        asyncio.get_running_loop().call_later(0.02, os._exit, 137)


def json_response(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=dump(document), status=status, content_type="application/json")


def validation_error(detail: dict[str, Any]) -> RequestError:
    """SGLang's message for a body that does not fit the schema, without its source positions."""
    return RequestError(f"1 validation error:\n  {detail}", kind="Bad Request")


async def read_json(request: web.Request, *, required: str | None = None) -> dict[str, Any]:
    """The body as an object, or the error SGLang answers."""
    if required and request.content_type != "application/json":
        raise validation_error({
            "loc": ["header", "content-type"],
            "msg": "Unsupported Media Type: Only 'application/json' is allowed",
            "type": "value_error",
        })  # fmt: skip
    raw = await request.read()
    try:
        body = json.loads(raw)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        at = getattr(error, "pos", 0)
        raise validation_error({
            "type": "json_invalid", "loc": ("body", at), "msg": "JSON decode error", "input": {},
            "ctx": {"error": "unexpected end of data" if at >= len(raw) else str(error)},
        }) from error  # fmt: skip
    if not isinstance(body, dict):
        raise validation_error({
            "type": "model_attributes_type", "loc": ("body",),
            "msg": "Input should be a valid dictionary or object to extract fields from",
            "input": body,
        })  # fmt: skip
    if required and required not in body:
        raise validation_error({
            "type": "missing", "loc": ("body", required), "msg": "Field required",
            "input": body | ({"tool_choice": "none"} if required == "messages" else {}),
        })  # fmt: skip
    return body
