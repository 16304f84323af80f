"""How requests reach workers: admission, failure, fallback, affinity.

Keys and defaults are those of the router's own document (docs/reference/router.md), into which
only what differs from them is rendered.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sglctl.config.base import FleetName, Strict

PolicyName = Literal["prefix_aware", "least_load", "round_robin", "power_of_two", "session"]
ExternalName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=32)]


class Queue(Strict):
    """Requests that wait at the router while every worker is full; 429 beyond."""

    size: int = Field(default=512, ge=0, le=100_000, description="Most that wait, per router.")
    timeout_s: float = Field(default=30.0, gt=0, le=3600, description="Longest wait in seconds.")


class Breaker(Strict):
    """When a failing worker is taken out of choice, and when it is tried again."""

    failures: int = Field(default=3, ge=1, description="Failures in a row that take it out.")
    error_rate: float = Field(
        default=0.5, gt=0, le=1, description="Share of failures in `window` that takes it out."
    )
    window: int = Field(default=20, ge=4, le=1000, description="Last requests looked at.")
    open_s: float = Field(
        default=2.0, gt=0, le=86_400, description="Seconds until one request tries it again."
    )
    max_open_s: float = Field(
        default=60.0, gt=0, le=86_400, description="They double with each failure, up to this."
    )


class Tier(Strict):
    """Where a request goes when its fleet failed before the first byte."""

    fleet: FleetName | None = Field(default=None, description="A fleet of this environment.")
    external: ExternalName | None = Field(default=None, description="One of `externals`.")
    first_byte_timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="Longest wait for a first byte there, seconds."
    )


class External(Strict):
    """An API outside the environment; its key is the secret `sglctl/<env>/external/<name>`."""

    kind: Literal["openai", "anthropic"] = Field(description="Whose API it speaks.")
    url: str = Field(
        pattern=r"^(https://[^/?#@\s]+|http://(127\.0\.0\.1|localhost)(:\d+)?)(/[^?#\s]*)?$",
        description="Base address, https; plain http on this machine only.",
    )
    models: Annotated[dict[str, str], Field(min_length=1)] = Field(
        description="Our model name: theirs. A name that is not listed is not served there."
    )


class Affinity(Strict):
    """What keeps a conversation where its prefix is cached."""

    index_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=64 * 1024,
        le=1 << 32,
        description="Memory of the prefix index of a router; 16 bytes hold one block of prompt.",
    )
    session_header: str = Field(
        default="x-session-id",
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="Header that names a conversation, where clients send it.",
    )
    spill_tokens: int = Field(
        default=3_000,
        ge=1,
        description="A worker with the prefix is passed over when another would compute all of the "
        "prompt earlier, by the time the mean worker takes for so many tokens.",
    )
