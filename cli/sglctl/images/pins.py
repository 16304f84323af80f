"""Write image ids into the release file, keeping its comments and layout."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from sglctl.errors import ConfigError


def pin_images(file: Path, region: str, images: Mapping[str, str]) -> list[str]:
    """Add the ids of a region to a release file; return the names that were added.

    A pin is never changed: ConfigError for an image pinned to another id.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    document = yaml.load(file.read_text())
    pins = _block(document, "images")
    region_pins = _block(pins, region)
    added = []
    for name, image_id in sorted(images.items()):
        pinned = region_pins.get(name)
        if pinned is None:
            region_pins[name] = image_id
            added.append(name)
        elif pinned != image_id:
            raise ConfigError(
                f"{file}: image {name} of {region} is pinned to {pinned}, not {image_id}",
                hint="a release is immutable once its images are built: cut a new release",
            )
    if added:
        text = io.StringIO()
        yaml.dump(document, text)
        partial = file.with_suffix(".yaml.new")
        partial.write_text(text.getvalue())
        partial.replace(file)
    return added


def _block(parent: Any, key: str) -> Any:
    """The mapping at `key`, written as a block even where the file has `{}`."""
    if not parent.get(key):
        parent[key] = CommentedMap()
    return parent[key]
