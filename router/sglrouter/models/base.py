"""What all parts of the router's document share: strictness, names, bounds."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

EnvironmentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=10)]
FleetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=16)]
# They stand in headers and in the names of secrets.
ExternalName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=32)]
RouterId = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,64}$")]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Positive = Annotated[int, Field(ge=1)]
PolicyName = Literal["prefix_aware", "least_load", "round_robin", "power_of_two", "session"]
Priority = Literal["high", "normal", "low"]
Role = Literal["regular", "prefill", "decode"]

SECRET_NAME = re.compile(r"^[A-Za-z0-9/_+=.@:-]{1,512}$")


class Document(BaseModel):
    """Parsed strictly: an unknown key or a wrong type is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SecretSource(Document):
    """Where a secret text comes from: Secrets Manager or a file, read again every `interval_s`."""

    secret: str | None = None
    file: str | None = None
    interval_s: Seconds = 60.0

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretSource:
        if (self.secret is None) == (self.file is None):
            raise ValueError("give exactly one of `secret` and `file`")
        if self.secret is not None and not SECRET_NAME.match(self.secret):
            raise ValueError(f"{self.secret!r} is not a name of a Secrets Manager secret")
        return self


def plain_http(value: str) -> str:
    """`value` if it is http://HOST:PORT; raises ValueError."""
    parts = urlsplit(value)
    port = parts.port  # raises ValueError when it is not a number
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"{value!r}: write http://HOST:PORT")
    if port is None:
        raise ValueError(f"{value!r} has no port: write http://HOST:PORT")
    return value
