"""An ssh_config for hosts of the emulator, which only their network namespace reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_BLOCK = """\
Host {alias}
  HostName {address}
  User root
  IdentityFile {key}
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
  ConnectTimeout 10
  ProxyCommand nsenter --net=/run/netns/{hub} nc %h %p
"""


def aliases(hosts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """`<role>-<instance id>` → address, for the running hosts of the emulator's status."""
    return {
        f"{host['role']}-{host['instance_id']}": str(host["address"])
        for host in hosts
        if host.get("role") in ("worker", "router") and host.get("state") == "running"
    }


def write_ssh_config(path: Path, addresses: Mapping[str, str], hub: str, key: Path) -> None:
    """Write one block for every alias; nc (netcat-openbsd) carries the connection."""
    blocks = (
        _BLOCK.format(alias=alias, address=address, key=key, hub=hub)
        for alias, address in sorted(addresses.items())
    )
    path.write_text("\n".join(blocks))
    path.chmod(0o600)
