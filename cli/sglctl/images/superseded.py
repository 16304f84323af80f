"""Local images that newer ones replaced: each is a gigabyte or two of the cache."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sglctl.config.render.images import ImageNeed
from sglctl.images.registry import Image, our_images

#: The image in force, and the one before: launch templates may name it until the next apply.
KEEP = 2


def forget_superseded(ec2: Any, need: ImageNeed) -> list[str]:
    """Deregister all but the newest images of a name and release; return their ids.

    For the emulator only: there the disk goes with the image. A disk that a host stands on stays.
    """
    images = our_images(ec2, {"sglctl:image": need.name, "sglctl:release": need.release})
    gone = superseded(images, _in_use(ec2))
    for image in gone:
        ec2.deregister_image(ImageId=image.image_id)
    return [image.image_id for image in gone]


def superseded(images: Sequence[Image], in_use: Collection[str]) -> list[Image]:
    """Of images newest first: those beyond the kept ones that nothing runs. Pure."""
    available = [image for image in images if image.state == "available"]
    return [image for image in available[KEEP:] if image.image_id not in in_use]


def _in_use(ec2: Any) -> set[str]:
    pages = ec2.get_paginator("describe_instances").paginate()
    return {
        instance["ImageId"]
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] != "terminated"
    }
