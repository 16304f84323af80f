"""Drivers of container hosts; the base image comes from the cache.

(`SGLCTL_CACHE_DIR`, else the XDG cache folder.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sglocal.hosts.base import ensure_base
from sglocal.hosts.containers import ContainerDriver

sys.path.insert(0, str(Path(__file__).parent))  # this folder's helper module

from container_world import FIRST, SECOND, made_driver, run


@pytest.fixture(scope="module")
def cache_dir() -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sglctl"
    cache = Path(os.environ.get("SGLCTL_CACHE_DIR") or default)
    ensure_base(cache, print)
    return cache


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file


@pytest.fixture
def driver(tmp_path: Path, cache_dir: Path) -> Iterator[ContainerDriver]:
    yield from made_driver(tmp_path, cache_dir)


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, key: Path
) -> Iterator[ContainerDriver]:
    """A driver with FIRST and SECOND, whose sshd answers."""
    for driver in made_driver(tmp_path_factory.mktemp("pair"), cache_dir):
        public = key.with_suffix(".pub").read_text()
        for spec in (FIRST, SECOND):
            driver.launch(replace(spec, authorized_keys=[public]))
        for spec in (FIRST, SECOND):
            run(driver, "until ss -Hltn sport = :22 | grep -q .; do sleep 0.05; done", spec)
        yield driver
