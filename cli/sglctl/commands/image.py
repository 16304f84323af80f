"""`sglctl image`"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit, say

if TYPE_CHECKING:
    from sglctl.aws.session import Session
    from sglctl.config.desired import Desired
    from sglctl.images.registry import Image


@dataclass(frozen=True)
class Built:
    """Image name → id ("" where a dry run would make one)."""

    images: dict[str, str]
    pinned: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self) -> str:
        lines = [f"{name:32} {ami or '(to be made)'}" for name, ami in self.images.items()]
        if self.pinned:
            lines.append(f"pinned in the release file: {', '.join(self.pinned)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Listed:
    images: list[Image]

    def to_json(self) -> list[dict[str, Any]]:
        return [_document(image) for image in self.images]

    def to_text(self) -> str:
        if not self.images:
            return "no images"
        return "\n".join(_line(image) for image in self.images)


@dataclass(frozen=True)
class Shown:
    image: Image

    def to_json(self) -> dict[str, Any]:
        return _document(self.image)

    def to_text(self) -> str:
        document = _document(self.image)
        tags = document.pop("tags")
        lines = [f"{key:20} {value}" for key, value in document.items()]
        return "\n".join([*lines, *(f"  {key:18} {value}" for key, value in sorted(tags.items()))])


@click.group("image")
def command() -> None:
    """Build, list and inspect images."""


@command.command("build")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@common
def build(context: Context, names: tuple[str, ...]) -> None:
    """Make the images the environment needs and does not have (or only those named).

    An image is named after what it holds: `router`, `worker-<model>`. On AWS the new ids are
    written into the release file; in the emulator unchanged inputs mean an unchanged image.
    """
    from sglctl.images import ensure_images

    desired, session = _reach(context)
    images = ensure_images(context, desired, session, say, only=names)
    emit(Built(images, _pin(context, desired, session, images)), context.output)


@command.command("list")
@common
def list_images(context: Context) -> None:
    """List the images of the environment's account and region, newest first."""
    from sglctl.images.registry import our_images

    _, session = _reach(context)
    emit(Listed(our_images(session.client("ec2"))), context.output)


@command.command("show")
@click.argument("name", metavar="NAME|ID")
@common
def show(context: Context, name: str) -> None:
    """Show one image: by its id, or the newest of a name."""
    from sglctl.errors import ImageError
    from sglctl.images.registry import our_images

    _, session = _reach(context)
    images = our_images(session.client("ec2"))
    for image in images:
        if name in (image.image_id, image.name, image.tags.get("sglctl:image")):
            emit(Shown(image), context.output)
            return
    known = ", ".join(sorted({image.tags["sglctl:image"] for image in images})) or "none"
    raise ImageError(f"there is no image {name!r}", hint=f"images there are: {known}")


def _reach(context: Context) -> tuple[Desired, Session]:
    from sglctl.aws.session import connect
    from sglctl.config.loader import load
    from sglctl.local import running

    desired = load(context.config_dir, context.environment)
    return desired, connect(context.environment, desired.environment, running(context))


def _pin(context: Context, desired: Desired, session: Session, images: dict[str, str]) -> list[str]:
    """On AWS the ids go into the release file; the emulator's are no business of the file."""
    if session.emulated or context.dry_run:
        return []
    from sglctl.images.pins import pin_images

    file = context.config_dir / "releases" / f"{desired.environment.release}.yaml"
    return pin_images(file, session.region, images)


def _document(image: Image) -> dict[str, Any]:
    return {**asdict(image), "tags": dict(image.tags)}


def _line(image: Image) -> str:
    kind, release = image.tags.get("sglctl:image", ""), image.tags.get("sglctl:release", "")
    return f"{image.image_id:24} {kind:32} {release:12} {image.state:10} {image.created}"
