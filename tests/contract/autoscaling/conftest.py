"""Makes this folder's helper modules importable, and holds the world of its cases."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from scaling_world import VirtualWorld  # noqa: E402

# moto reads its account when it is imported, and other tests of this process use its default.
ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualWorld]:
    """One emulator in this process for a module's cases; each takes a group of its own."""
    before = dict(os.environ)
    made = VirtualWorld(tmp_path_factory.mktemp("world"), ACCOUNT)
    yield made
    made.close()
    for name in [name for name in os.environ if name.startswith("MOTO_")]:
        del os.environ[name]
    os.environ.update({k: v for k, v in before.items() if k.startswith("MOTO_")})
