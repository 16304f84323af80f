"""Who may ask, and what they may use: API keys, the admin key, external services' keys."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from sglrouter.models.base import Document, Positive, Priority, SecretSource

# It becomes a request's first line and its Host header.
_VISIBLE = re.compile(r"[\x21-\x7e]+")


class KeyEntry(Document):
    """One API key in the key document: its SHA-256 in hex, and bounds for who holds it.

    Bounds are an environment's: each of N live routers enforces an Nth of them.
    `priority` is the highest class the key may ask for, and its class when it asks for none.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    tokens_per_minute: Positive | None = None
    concurrency: Positive | None = None
    priority: Priority = "normal"


class Keys(SecretSource):
    """The clients' API keys: `{"<name>": "<key>" or a KeyEntry}`.

    `failed_per_minute`: wrong keys one client address may send before it is answered 429.
    `forwarded_for`: addresses come from the last entry of X-Forwarded-For (the load balancer's).
    """

    failed_per_minute: Positive = 60
    forwarded_for: bool = True


class External(Document):
    """A service outside the environment that speaks OpenAI's or Anthropic's API.

    `models`: our model name → theirs; a name that is not listed is not served there.
    `url` may carry a path prefix, e.g. https://api.example.com/openai.
    """

    kind: Literal["openai", "anthropic"]
    url: str
    key: SecretSource
    models: Annotated[dict[str, str], Field(min_length=1)]

    @field_validator("url")
    @classmethod
    def _absolute(cls, value: str) -> str:
        parts = urlsplit(value)
        loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if parts.username is not None or parts.password is not None:  # GET /config shows it
            raise ValueError("a URL holds no credentials: `key` says where the key is")
        if not parts.hostname or not _VISIBLE.fullmatch(value) or parts.query or parts.fragment:
            raise ValueError(f"{value!r}: write https://HOST[:PORT][/PREFIX]")
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise ValueError(f"{value!r}: a key may only leave this machine over https")
        # Both raise ValueError: no number; an empty or a too long label, which no resolver takes.
        _ = parts.port, parts.hostname.encode("idna")
        return value.rstrip("/")
