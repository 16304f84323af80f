"""Makes this folder's helper modules importable, and holds the world of its cases."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from scaling_world import VirtualWorld  # noqa: E402

ACCOUNT = "200000000000"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualWorld]:
    """One emulator in this process for a module's cases; each takes a group of its own."""
    made = VirtualWorld(tmp_path_factory.mktemp("world"), ACCOUNT)
    yield made
    made.close()
