"""Images in the account: find, wait for, list. Thin over the EC2 API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sglctl.errors import ImageError, WaitTimeoutError

AVAILABLE_DEADLINE_S = 900.0
POLL_S = 0.5


@dataclass(frozen=True)
class Image:
    """One image of ours."""

    image_id: str
    name: str
    state: str
    created: str
    tags: Mapping[str, str]

    @property
    def input_hash(self) -> str:
        return self.tags.get("sglctl:input-hash", "")


@dataclass(frozen=True)
class Clock:
    """Time, so that waiting can be tested without waiting."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def our_images(ec2: Any, tags: Mapping[str, str] | None = None) -> list[Image]:
    """Images of this account that carry sglctl:image and all of `tags`, newest first."""
    filters = [{"Name": "tag-key", "Values": ["sglctl:image"]}]
    filters += [{"Name": f"tag:{key}", "Values": [value]} for key, value in (tags or {}).items()]
    pages = ec2.get_paginator("describe_images").paginate(Owners=["self"], Filters=filters)
    found = [_image(raw) for page in pages for raw in page["Images"]]
    return sorted(found, key=lambda image: (image.created, image.image_id), reverse=True)


def find_image(ec2: Any, name: str, release: str, digest: str | None = None) -> Image | None:
    """The newest available image of a name and release (and of these inputs, where given)."""
    wanted = {"sglctl:image": name, "sglctl:release": release}
    if digest is not None:
        wanted["sglctl:input-hash"] = digest
    return next((i for i in our_images(ec2, wanted) if i.state == "available"), None)


def base_image(ec2: Any, name: str, owner: str) -> str:
    """Id of the newest available image of exactly this name. Raises ImageError."""
    answer = ec2.describe_images(
        Owners=[owner],
        Filters=[{"Name": "name", "Values": [name]}, {"Name": "state", "Values": ["available"]}],
    )
    found = sorted(answer["Images"], key=lambda raw: str(raw.get("CreationDate", "")))
    if not found:
        raise ImageError(
            f"base image {name!r} of owner {owner} does not exist in this region",
            hint="correct base_images in the release file of config/releases",
        )
    return str(found[-1]["ImageId"])


def wait_available(ec2: Any, image_id: str, clock: Clock | None = None) -> None:
    """Wait until an image can be launched. Raises ImageError, WaitTimeoutError."""
    clock = clock or Clock()
    deadline = clock.now() + AVAILABLE_DEADLINE_S
    while True:
        [raw] = ec2.describe_images(ImageIds=[image_id])["Images"]
        if raw["State"] == "available":
            return
        if raw["State"] not in ("pending", "transient"):
            reason = raw.get("StateReason", {}).get("Message", "no reason given")
            raise ImageError(f"image {image_id} became {raw['State']}: {reason}")
        if clock.now() >= deadline:
            raise WaitTimeoutError(
                f"image {image_id} is still {raw['State']} after {AVAILABLE_DEADLINE_S:.0f} s"
            )
        clock.sleep(POLL_S)


def tag_specification(kind: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """TagSpecifications as EC2 takes them."""
    pairs = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
    return {"ResourceType": kind, "Tags": pairs}


def _image(raw: Mapping[str, Any]) -> Image:
    return Image(
        image_id=raw["ImageId"],
        name=raw.get("Name", ""),
        state=raw.get("State", "available"),
        created=str(raw.get("CreationDate", "")),
        tags={tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])},
    )
