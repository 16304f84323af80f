"""What is tested, and how its workers can be looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """An OpenAI-compatible endpoint.

    `url` has no path (`http://host:port`); a trailing `/v1` is removed.
    `model` None: the first of `/v1/models`.
    `in_flight`, where given, returns the requests running or queued on a worker, by its
    instance id; without it the engine's `/v1/loads` is asked.
    """

    url: str
    api_key: str | None = None
    model: str | None = None
    ca_file: Path | None = None
    timeout_s: float = 60.0
    in_flight: Callable[[str], int] | None = None

    @property
    def base_url(self) -> str:
        return self.url.rstrip("/").removesuffix("/v1").rstrip("/")
