"""Which hosts are looked at.

`SGLCTL_IMAGE_SSH_CONFIG` names an ssh_config whose aliases start with `worker` or `router`
(`sglctl.images.ssh_config` writes one). `SGLCTL_IMAGE_LIVE=1` says that they serve: then the
services must run and answer; otherwise only what was baked is checked.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import testinfra

CONFIG = os.environ.get("SGLCTL_IMAGE_SSH_CONFIG", "")
NO_HOSTS = "no hosts named (SGLCTL_IMAGE_SSH_CONFIG); tests/e2e/test_containers.py runs these"
LIVE = os.environ.get("SGLCTL_IMAGE_LIVE") == "1"


def aliases() -> list[str]:
    """Hosts of the ssh_config."""
    if not CONFIG:
        return []
    words = (line.split() for line in Path(CONFIG).read_text().splitlines())
    return [parts[1] for parts in words if len(parts) == 2 and parts[0] == "Host"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`worker`, `router`, `host`: one run for every host of the kind."""
    for fixture in ("worker", "router", "host"):
        if fixture in metafunc.fixturenames:
            names = [n for n in aliases() if fixture == "host" or n.startswith(fixture)]
            params: list[Any] = names or [pytest.param("none", marks=pytest.mark.skip(NO_HOSTS))]
            metafunc.parametrize(fixture, params, indirect=True, scope="session")


def _connect(name: str) -> Any:
    return testinfra.get_host(f"ssh://{name}?ssh_config={CONFIG}&controlpersist=60", timeout=30)


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest) -> Any:
    """A worker's host."""
    return _connect(request.param)


@pytest.fixture(scope="session")
def router(request: pytest.FixtureRequest) -> Any:
    """A router's host."""
    return _connect(request.param)


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Any:
    """Any host."""
    return _connect(request.param)


@pytest.fixture
def live() -> None:
    """Only on hosts that serve."""
    if not LIVE:
        pytest.skip("these hosts were only baked (SGLCTL_IMAGE_LIVE=1 says that they serve)")
