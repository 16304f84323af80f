"""A release: an immutable set of pins, one file of config/releases."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field

from sglctl.config.base import Region, Strict

Version = Annotated[str, Field(pattern=r"^\d+(\.\d+)+([a-z0-9.+-]*)?$")]


class EnginePin(Strict):
    """The engine, exactly."""

    name: Literal["sglang", "vllm"] = Field(description="Engine.")
    version: Version = Field(description="Exact version, as on the Python package index.")


class BaseImagePin(Strict):
    """The image a bake starts from, exactly."""

    name: str = Field(min_length=1, description="Name of the image; no wildcard.")
    owner: str = Field(
        pattern=r"^(\d{12}|self|amazon)$", description="Account that owns it, or self, amazon."
    )


class BaseImages(Strict):
    """What each kind of image is baked from."""

    worker: BaseImagePin = Field(description="Base of workers (with GPU driver, on AWS).")
    router: BaseImagePin = Field(description="Base of routers.")


class Release(Strict):
    """Pins; then the image ids, written by `sglctl image build` and immutable afterwards."""

    date: datetime.date = Field(strict=False, description="Day the release was cut.")
    description: str = Field(default="", description="One line: what changed.")
    engine: EnginePin = Field(description="The engine.")
    base_images: BaseImages = Field(description="What images are baked from.")
    images: dict[
        Region, dict[str, Annotated[str, Field(pattern=r"^ami-[0-9a-f]+$")]]
    ] = Field(
        default={},
        description="Image ids by region and image name (worker-<model>, router).",
    )  # fmt: skip
