"""One fleet's share of the document: models, admission, failure, fallback."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from sglrouter.models.base import Document, FleetName, PolicyName, Positive, Seconds

ANY_MODEL = "*"
#: With a fallback a slow fleet is left soon, without one there is nothing better than waiting.
FIRST_BYTE_S, FIRST_BYTE_WITH_FALLBACK_S = 300.0, 5.0


class Queue(Document):
    """Requests that wait at the router while every worker is full: first come, first served
    within a priority class, at most `size` (429 beyond) and `timeout_s` (429 after)."""

    size: Annotated[int, Field(ge=0, le=100_000)] = 512
    timeout_s: Seconds = 30.0


class Breaker(Document):
    """When a worker is taken out of choice, and when it is tried again.

    Open after `failures` in a row, or when `error_rate` of the last `window` attempts failed;
    after `open_s` (doubling to `max_open_s`) one request probes it: half-open.
    """

    failures: Positive = 3
    error_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    window: Annotated[int, Field(ge=4, le=1000)] = 20
    open_s: Seconds = 2.0
    max_open_s: Seconds = 60.0


class Tier(Document):
    """One further place a request may be sent when its own fleet failed before a first byte."""

    fleet: FleetName | None = None
    external: str | None = None
    first_byte_timeout_s: Seconds = 60.0

    @model_validator(mode="after")
    def _exactly_one(self) -> Tier:
        if (self.fleet is None) == (self.external is None):
            raise ValueError("give exactly one of `fleet` and `external`")
        return self

    @property
    def name(self) -> str:
        return str(self.fleet or self.external)


class FleetRoute(Document):
    """One fleet: the model names it answers to, its bounds, and what happens when it fails.

    `engine` and `context_length` are what `/v1/models` says as `owned_by` and `max_model_len`.
    The name `*` answers to every model no fleet names; `/v1/models` is then a worker's own list.
    A name `base:adapter` goes to workers whose agents report the LoRA adapter.
    `first_byte_timeout_s` null: 300 s, or 5 s where there is a fallback.
    """

    models: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    engine: str = "sglang"
    context_length: Positive | None = None
    policy: PolicyName | None = None
    first_byte_timeout_s: Seconds | None = None
    max_in_flight: Positive | None = None
    max_in_flight_per_worker: Positive = 256
    queue: Queue = Queue()
    breaker: Breaker = Breaker()
    fallback: Annotated[tuple[Tier, ...], Field(strict=False, max_length=8)] = ()

    @property
    def first_byte_s(self) -> float:
        """How long one attempt may take to its first byte, in seconds."""
        if self.first_byte_timeout_s is not None:
            return self.first_byte_timeout_s
        return FIRST_BYTE_WITH_FALLBACK_S if self.fallback else FIRST_BYTE_S
