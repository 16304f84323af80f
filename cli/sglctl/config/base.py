"""What every model of `config/` shares: strictness, name patterns, small value types."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Unknown keys, wrong types and changes after parsing are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


#: Longest names that keep every AWS name below its limit (see docs/reference/interfaces.md):
#: a target group has 32 characters at most, and ours is `sgl-<env>-router`.
ENVIRONMENT_NAME = r"^[a-z][a-z0-9-]*$"
ENVIRONMENT_NAME_LENGTH = 10
FLEET_NAME_LENGTH = 16
MODEL_NAME = r"^[a-z0-9][a-z0-9.-]*$"
MODEL_NAME_LENGTH = 48
RELEASE_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

FleetName = Annotated[str, Field(pattern=ENVIRONMENT_NAME, max_length=FLEET_NAME_LENGTH)]
ModelName = Annotated[str, Field(pattern=MODEL_NAME, max_length=MODEL_NAME_LENGTH)]
ReleaseId = Annotated[str, Field(pattern=RELEASE_ID, max_length=32)]
InstanceType = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")]
Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Tags = dict[
    Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=256)]
]
#: YAML has lists; the models keep tuples, so that they stay frozen.
Texts = Annotated[tuple[str, ...], Field(strict=False)]
Cidrs = Annotated[
    tuple[Annotated[str, Field(pattern=r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$")], ...],
    Field(strict=False),
]

#: Ports by contract (docs/reference/interfaces.md), not by choice.
ENGINE_PORT = 30000
AGENT_PORT = 30080
ROUTER_PORT = 8000
ROUTER_ADMIN_PORT = 8001
