"""Overlay mounts, and what is mounted below a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sglocal.hosts.driver import HostError
from sglocal.hosts.tool import tool

# Characters that mean something in overlay's option string.
_UNSAFE = re.compile(r"[:,\\\s]")
_ESCAPE = re.compile(r"\\([0-7]{3})")


def mount_overlay(lower: Sequence[Path], upper: Path, work: Path, root: Path) -> None:
    """Mount `upper` over the `lower` folders (uppermost first) at `root`."""
    for folder in (*lower, upper, work):
        if _UNSAFE.search(str(folder)):
            raise HostError(
                f"{folder}: a path with ':', ',', '\\' or blanks cannot be a host's disk"
            )
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}"
    tool(["mount", "-t", "overlay", "overlay", "-o", options, str(root)])


def parse_mount_points(mountinfo: str, folder: Path) -> list[Path]:
    """Mount points at or below `folder`, the latest mounted first (the order to unmount in)."""
    points = [_unescape(line.split()[4]) for line in mountinfo.splitlines()]
    return [Path(point) for point in reversed(points) if Path(point).is_relative_to(folder)]


def _unescape(text: str) -> str:
    """mountinfo writes blanks, tabs, line feeds and backslashes in octal."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def mounted_below(folder: Path) -> list[Path]:
    text = Path("/proc/self/mountinfo").read_text()
    return parse_mount_points(text, folder.resolve())


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below `folder`; no error if nothing is mounted."""
    for point in mounted_below(folder):
        tool(["umount", str(point)])
