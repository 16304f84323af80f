"""Images on disk: `CACHE/images/<ami id>/image.json`, beside the `root` the driver kept.

Deleting the folder deletes the image; the emulator registers what it finds at every start.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sglocal.errors import LocalError

DOCUMENT = "image.json"
ROOT = "root"
BASE_NAME = "sglocal-debian-12"


@dataclass(frozen=True)
class StoredImage:
    """One image: what DescribeImages answers, without the disk itself."""

    image_id: str
    name: str
    description: str = ""
    architecture: str = "x86_64"
    root_device_name: str = "/dev/xvda"
    creation_date: str = ""
    block_devices: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    bootable: bool = False


def image_id(account: str, region: str, name: str) -> str:
    """The id an image of this name gets: the same on every start and every machine."""
    digest = hashlib.sha256(f"{account}/{region}/{name}".encode()).hexdigest()
    return f"ami-{digest[:17]}"


def now() -> str:
    """The time as EC2 writes creation dates."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class ImageStore:
    """The folder of images of one cache directory."""

    def __init__(self, cache_dir: Path) -> None:
        self.folder = cache_dir / "images"

    def root(self, ami: str) -> Path:
        """Where the driver keeps the image's disk."""
        return self.folder / ami / ROOT

    def load(self) -> list[StoredImage]:
        """Every complete image. Raises LocalError for a document that cannot be read."""
        documents = sorted(self.folder.glob(f"ami-*/{DOCUMENT}"))
        return [self._read(path) for path in documents]

    def _read(self, path: Path) -> StoredImage:
        try:
            return StoredImage(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise LocalError(
                f"{path} is not an image document ({error}); delete its folder, then bake again"
            ) from error

    def save(self, image: StoredImage) -> None:
        """Write the document last, in one step: an image without it does not exist."""
        path = self.folder / image.image_id / DOCUMENT
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(image), indent=2, sort_keys=True) + "\n")
        temporary.replace(path)

    def delete(self, ami: str) -> None:
        """Remove the image and its disk; the document goes first. No error if it is absent."""
        folder = self.folder / ami
        (folder / DOCUMENT).unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)

    def sweep(self) -> None:
        """Remove what an interrupted CreateImage left: folders without a document."""
        for folder in self.folder.glob("ami-*"):
            if not (folder / DOCUMENT).exists():
                shutil.rmtree(folder)
