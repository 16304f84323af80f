"""Which images an environment's release has: pinned by the release file, else found by tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sglctl.aws.session import Session
from sglctl.config.desired import Desired


def image_ids(session: Session, desired: Desired) -> dict[str, str]:
    """Image name → id, for those there are; `render_terraform` names the missing.

    Found by `sglctl:image` and `sglctl:release`, owner self, newest first. In the emulator pins
    do not count: they are ids of the real account.
    """
    release = desired.environment.release
    pinned: Mapping[str, str] = {}
    if desired.release is not None and not session.emulated:
        pinned = desired.release.images.get(session.region, {})
    pages = (
        session.client("ec2")
        .get_paginator("describe_images")
        .paginate(Owners=["self"], Filters=[{"Name": "tag:sglctl:release", "Values": [release]}])
    )
    found = [image for page in pages for image in page["Images"]]
    return {**newest(found), **pinned}


def newest(images: list[dict[str, Any]]) -> dict[str, str]:
    """The newest available image of every `sglctl:image`; ISO dates order as text. Pure."""
    best: dict[str, str] = {}
    for image in sorted(images, key=lambda item: (item.get("CreationDate", ""), item["ImageId"])):
        tags = {tag["Key"]: tag["Value"] for tag in image.get("Tags", [])}
        if image.get("State", "available") == "available" and "sglctl:image" in tags:
            best[tags["sglctl:image"]] = image["ImageId"]
    return best
