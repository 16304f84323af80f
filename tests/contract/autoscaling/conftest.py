"""Makes this folder's helper modules importable, and gives each case a world of its own."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from scaling_world import VirtualWorld  # noqa: E402

ACCOUNTS = itertools.count(200000000000)


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[[], VirtualWorld]]:
    """Emulators in this process on a virtual clock, each with its own account."""
    made: list[VirtualWorld] = []

    def make() -> VirtualWorld:
        made.append(VirtualWorld(tmp_path, str(next(ACCOUNTS))))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: Callable[[], VirtualWorld]) -> VirtualWorld:
    return make_world()
