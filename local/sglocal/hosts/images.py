"""Image roots: what CreateImage keeps of a container host, and how its layers stack.

An image root is a folder with `image.json` ({"version": 1, "base": name}) and `layers/00 …`,
uppermost first. Layers are never changed once written, so an image made of an image shares the
lower ones as hard links: deregistering one image does not touch the other.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sglocal.hosts.driver import HostError
from sglocal.hosts.tool import tool

COPY_DEADLINE_S = 600.0


def layers_of(image_root: Path | None, base: Path) -> list[Path]:
    """Folders of the overlay's lower side, uppermost first, the base last.

    Raises HostError when the image is not one, or was made on a base that is no longer cached.
    """
    if image_root is None:
        return [base]
    try:
        manifest = json.loads((image_root / "image.json").read_text())
        name = manifest["base"]
    except (OSError, ValueError, KeyError) as error:
        raise HostError(f"{image_root} is no image root: {error}") from error
    if not isinstance(name, str):
        raise HostError(f"image {image_root} was made of a process host: it has no disk to boot")
    own_base = base.parent / name
    if not own_base.is_dir():
        raise HostError(f"image {image_root} stands on base {name}, which is gone: bake it again")
    return [*sorted((image_root / "layers").iterdir()), own_base]


def keep_image(upper: Path | None, lower: list[Path], destination: Path) -> None:
    """Write an image root: a copy of `upper` (None: nothing was written), then `lower`'s layers.

    Extended attributes and whiteouts (character devices 0/0) are kept. `destination` must not
    exist or be empty; it appears complete or not at all.
    """
    if destination.exists() and any(destination.iterdir()):
        raise HostError(f"cannot keep an image in {destination}: it is not empty")
    building = destination.parent / f".{destination.name}.building"
    if building.exists():
        shutil.rmtree(building)
    layers = building / "layers"
    layers.mkdir(parents=True)
    try:
        _copy_layers(upper, lower[:-1], layers)
        manifest = {"version": 1, "base": lower[-1].name}
        (building / "image.json").write_text(json.dumps(manifest) + "\n")
        if destination.exists():
            destination.rmdir()
        building.rename(destination)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _copy_layers(upper: Path | None, lower: list[Path], layers: Path) -> None:
    position = 0
    if upper is not None:
        _copy(["--reflink=auto"], upper, layers / "00")
        position = 1
    for offset, layer in enumerate(lower, start=position):
        same_disk = layer.stat().st_dev == layers.stat().st_dev
        _copy(["--link"] if same_disk else ["--reflink=auto"], layer, layers / f"{offset:02}")


def _copy(options: list[str], source: Path, destination: Path) -> None:
    tool(["cp", "-a", *options, str(source), str(destination)], timeout_s=COPY_DEADLINE_S)
