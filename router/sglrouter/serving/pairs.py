"""Prefill/decode: one request on two workers, the prefill half's answer read and dropped.

Both get the request at once, with the fields by which they find each other added to it, as
SGLang's own router does (sgl-router/src/routers/http/pd_router.rs): the prefill worker's bootstrap
address and a random room. The client gets what decode answers.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from sglrouter.policy import Choice, Policy
from sglrouter.serving.connect import connect
from sglrouter.serving.retry import RETRIED_STATUS, Cause
from sglrouter.wire.body import RequestView
from sglrouter.wire.replies import Failure
from sglrouter.wire.upstream import Upstream, take_idle

if TYPE_CHECKING:
    from sglrouter.fleet.workers import Worker
    from sglrouter.serving.attempt import Attempt
    from sglrouter.serving.core import Router

#: Routes whose requests SGLang takes the bootstrap fields in.
ROUTES = frozenset(
    {
        "/generate",
        "/invocations",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/messages",
        "/v1/responses",
    }
)
#: Routes that need no generation: either worker of a pair answers them.
SINGLE = frozenset(
    {
        "/detokenize",
        "/get_model_info",
        "/model_info",
        "/tokenize",
        "/v1/detokenize",
        "/v1/messages/count_tokens",
        "/v1/models",
        "/v1/models/*",
        "/v1/tokenize",
    }
)
_ROOM_BITS = 63
_JSON_SPACE = b" \t\n\r"


def refusal(route: str, view: RequestView) -> Failure | None:
    """Why a pair cannot serve a request that one worker could.

    On any other route a generation would reach one half alone, bootstrap fields and all.
    SGLang 0.5.23 first computes the prompt of several samples under the room of the first, and
    then waits for ever. Bootstrap fields of a client would send the decode worker to any address.
    """
    if route not in ROUTES or view.document is None:
        message = "This model's workers compute prompts and answers apart: not on this route."
        return Failure(400, "not_with_prefill_decode", message)
    document = view.document
    if samples(document) > 1:
        return Failure(400, "not_with_prefill_decode", "This model samples once: `n` is 1.", "n")
    for name in ("bootstrap_host", "bootstrap_port", "bootstrap_room"):
        if name in document:
            message = f"`{name}` is set by the router."
            return Failure(400, "not_with_prefill_decode", message, name)
    return None


def samples(document: Mapping[str, Any]) -> int:
    """How many answers a request wants for each prompt."""
    sampling = document.get("sampling_params")
    n = sampling.get("n") if isinstance(sampling, dict) else document.get("n")
    return n if isinstance(n, int) else 1


def batch_size(document: Mapping[str, Any]) -> int | None:
    """How many prompts a request has; None: one, not in a list."""
    for name in ("text", "prompt", "input_ids"):
        value = document.get(name)
        if isinstance(value, list) and value and not isinstance(value[0], int):
            return len(value)
    return None


def add_bootstrap(body: bytes, document: Mapping[str, Any], host: str, port: int | None) -> bytes:
    """The body with bootstrap_host, _port and _room first in it; the rest is not touched.

    A room is a random number of 63 bits; a batch has lists of one for each prompt.
    """
    size = batch_size(document)
    rooms = [secrets.randbits(_ROOM_BITS) for _ in range(size or 1)]
    fields = {
        "bootstrap_host": host if size is None else [host] * size,
        "bootstrap_port": port if size is None else [port] * size,
        "bootstrap_room": rooms[0] if size is None else rooms,
    }
    start = body.index(b"{") + 1
    comma = b"" if body[start:].lstrip(_JSON_SPACE).startswith(b"}") else b","
    return body[:start] + orjson.dumps(fields)[1:-1] + comma + body[start:]


def body_of(view: RequestView, renamed: bytes, prefill: Worker) -> bytes:
    """The body for both workers of a pair. A new room at every attempt.

    `renamed`: the body with another fleet's name of the model, or nothing.
    """
    assert view.document is not None
    body, host = renamed or view.body, prefill.address.host
    return add_bootstrap(body, view.document, host, prefill.bootstrap_port)


def choose(
    policy: Policy, view: RequestView, workers: Sequence[Worker]
) -> tuple[Choice[Worker], Worker] | None:
    """Prefill by the policy, decode by load; None: there is no pair among `workers`."""
    prefill = [worker for worker in workers if worker.role == "prefill"]
    decode = [worker for worker in workers if worker.role == "decode"]
    if not prefill or not decode:
        return None
    return policy.choose(view, prefill), min(decode, key=lambda w: (w.load, w.last_chosen))


class PrefillHalf:
    """The prefill worker's side of a pair; lives as long as its exchange waits or streams.

    An answer that is an error of the request (4xx) is passed to the client instead of decode's,
    which would wait for a cache that never comes.
    """

    __slots__ = (
        "_backlog",
        "_connecting",
        "_counted",
        "_probe",
        "_upstream",
        "answered",
        "exchange",
        "passes_on",
        "worker",
    )

    def __init__(self, exchange: Attempt, worker: Worker, backlog: int) -> None:
        self.exchange = exchange
        self.worker: Worker = worker
        self.answered = False
        self.passes_on = False
        self._backlog = backlog
        self._connecting: asyncio.Task[None] | None = None
        self._upstream: Upstream | None = None
        self._counted = True
        self._probe = worker.breaker.sent(exchange.router.now)
        worker.in_flight += 1
        worker.backlog += backlog

    @property
    def router(self) -> Router:
        return self.exchange.router

    @property
    def head_only(self) -> bool:
        return self.exchange.head_only

    @property
    def meter(self) -> None:
        """Its pieces are looked at one by one."""
        return None

    def send(self, *, fresh: bool) -> None:
        """Send the exchange's request; `fresh`: not on a kept-alive connection."""
        connection = None if fresh else take_idle(self.worker, self.router.now)
        if connection is not None:
            self._begin(connection)
        else:
            self._connecting = self.router.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            connection = await connect(self.worker, self.router.document.limits.connect_timeout_s)
        except OSError:
            self._connecting = None
            self.attempt_failed(Cause.CONNECT)
            return
        self._connecting = None
        self._begin(connection)

    def _begin(self, connection: Upstream) -> None:
        self._upstream = connection
        connection.begin(self, *self.exchange.payload(self.worker), dechunk=False)

    def release(self) -> None:
        """Close what is open and take back what was counted; safe to call again."""
        self.restart()
        self._uncount()

    def restart(self) -> None:
        """Close what is open; `send` may follow."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._upstream is not None:
            self._upstream.discard()
            self._upstream = None

    def _uncount(self) -> None:
        self._first_byte()
        if self._counted:
            self._counted = False
            self.worker.in_flight -= 1
            self.worker.breaker.abandoned(self._probe)

    def _first_byte(self) -> None:
        self.worker.backlog -= self._backlog
        self._backlog = 0

    # what the worker answers

    def response_head(self, connection: Upstream, raw: bytes, status: int) -> bytes | None:
        if status in RETRIED_STATUS:
            connection.discard()
            self.attempt_failed(Cause.STATUS)
            return None
        self._first_byte()
        self.answered = True
        if status >= 400 and self.exchange.phase != "streaming":
            self.passes_on = True
            return self.exchange.answered_by_prefill(connection, raw, status)
        self.worker.breaker.succeeded()
        return b""

    def write(self, data: bytes) -> None:
        if self.passes_on:
            self.exchange.write(data)

    def completed(self) -> None:
        self._upstream = None
        if self.passes_on:
            self.exchange.completed()
        else:
            self._uncount()

    def attempt_failed(self, cause: Cause) -> None:
        self._upstream = None
        if self.exchange.phase in ("connecting", "waiting"):
            self.exchange.attempt_failed(cause, self.worker)
        else:  # decode has begun to answer and shows what comes of it
            self._uncount()

    def upstream_ended(self, *, clean: bool) -> None:
        self._upstream = None
        if self.passes_on:
            self.exchange.upstream_ended(clean=clean)
        else:
            self._uncount()
