"""Image ids in the release file, and images that newer ones replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from sglctl.errors import ConfigError
from sglctl.images.pins import pin_images
from sglctl.images.registry import Image
from sglctl.images.superseded import superseded

RELEASE = """\
# Immutable.
date: 2026-11-21

engine: {name: sglang, version: 0.5.23}

# Written by `sglctl image build`.
images: {}
"""


def test_ids_are_added_and_everything_else_stays(tmp_path: Path) -> None:
    """Comments and layout are the authors'."""
    file = tmp_path / "2026.11.1.yaml"
    file.write_text(RELEASE)
    assert pin_images(file, "eu-west-1", {"router": "ami-1", "worker-a": "ami-2"}) == [
        "router",
        "worker-a",
    ]
    expected = RELEASE.replace(
        "images: {}", "images:\n  eu-west-1:\n    router: ami-1\n    worker-a: ami-2"
    )
    assert file.read_text() == expected


def test_pinning_the_same_ids_again_does_not_touch_the_file(tmp_path: Path) -> None:
    """A repeated build makes no diff."""
    file = tmp_path / "r.yaml"
    file.write_text(RELEASE)
    pin_images(file, "eu-west-1", {"router": "ami-1"})
    before = file.stat().st_mtime_ns
    assert pin_images(file, "eu-west-1", {"router": "ami-1"}) == []
    assert file.stat().st_mtime_ns == before


def test_a_pin_is_never_changed(tmp_path: Path) -> None:
    """A release is immutable: rolling back to it must mean the same images."""
    file = tmp_path / "r.yaml"
    file.write_text(RELEASE)
    pin_images(file, "eu-west-1", {"router": "ami-1"})
    with pytest.raises(ConfigError, match="pinned to ami-1"):
        pin_images(file, "eu-west-1", {"router": "ami-9"})


def image(number: int, state: str = "available") -> Image:
    return Image(f"ami-{number}", f"n{number}", state, f"2026-11-{number:02}", {})


@pytest.mark.parametrize(
    ("images", "in_use", "gone"),
    [
        ([image(3), image(2)], set(), []),
        ([image(4), image(3), image(2), image(1)], set(), ["ami-2", "ami-1"]),
        ([image(4), image(3), image(2), image(1)], {"ami-1"}, ["ami-2"]),
        ([image(4), image(3, "pending"), image(2), image(1)], set(), ["ami-1"]),
    ],
)
def test_the_newest_two_images_and_those_in_use_stay(
    images: list[Image], in_use: set[str], gone: list[str]
) -> None:
    """A launch template may still name the one before; a running host stands on its disk."""
    assert [i.image_id for i in superseded(images, in_use)] == gone
