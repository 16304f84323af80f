"""The network that container hosts share, without the hosts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_world import MARKS

from sglocal.hosts import namespaces
from sglocal.hosts.hub import Hub
from sglocal.hosts.names import BRIDGE

pytestmark = MARKS
HOSTS = [f"i-0000000000000000{number}" for number in range(4)]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    made.make()
    try:
        yield made
    finally:
        for host in HOSTS:
            made.unplug(host)
        namespaces.remove(made.name)


def hardware_address(hub: Hub) -> str:
    shown = subprocess.check_output(["ip", "-n", hub.name, "-json", "link", "show", BRIDGE])
    return str(json.loads(shown)[0]["address"])


def test_the_gateways_address_stays_whichever_host_comes_or_goes(hub: Hub) -> None:
    """Hosts keep it in their ARP tables: with another they would reach nobody for a while."""
    router = hub.add_network("10.40.0.0/16")
    seen = [hardware_address(hub)]
    for number, host in enumerate(HOSTS):
        hub.plug(host, f"10.40.0.{11 + number}", 16, router)
        seen.append(hardware_address(hub))
    for host in HOSTS:
        hub.unplug(host)
        seen.append(hardware_address(hub))
    assert len(set(seen)) == 1, seen
