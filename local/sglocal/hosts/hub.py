"""The hub: the network namespace where the hosts' links meet, and the VPC router's addresses are.

Nothing is added to the machine's own network: no link, no address, no route, no forwarding.

`python -m sglocal.hosts.hub --state-dir DIR -- command …` runs a command inside it,
which makes it an ssh ProxyCommand: `… -- nc %h %p`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sglocal.hosts import namespaces
from sglocal.hosts.driver import HostError
from sglocal.hosts.names import (
    API_ADDRESS,
    BRIDGE,
    GUEST_LINK,
    METADATA_ADDRESS,
    host_namespace,
    hub_name,
    router_address,
    veth_name,
)
from sglocal.hosts.tool import tool

LINK_LOCAL = (f"{METADATA_ADDRESS}/32", f"{API_ADDRESS}/32")
# Without an address of its own a bridge takes the lowest of its ports': with that host's end it
# would change, and the others send to the old one until their ARP entries expire, half a minute.
BRIDGE_MAC = "02:53:47:4c:00:01"


class Hub:
    """Makes the hub namespace and plugs hosts into it. Calls are not locked: the driver does."""

    def __init__(self, state_dir: Path) -> None:
        self.name = hub_name(state_dir)

    def make(self) -> None:
        """The namespace, its bridge and the two link-local addresses; idempotent."""
        if self.name in namespaces.names(self.name):
            return
        namespaces.add(self.name)
        namespaces.configure(
            self.name,
            [
                "link set lo up",
                f"link add {BRIDGE} address {BRIDGE_MAC} type bridge forward_delay 0",
                *(f"address add {address} dev {BRIDGE}" for address in LINK_LOCAL),
                f"link set {BRIDGE} up",
            ],
        )

    def add_network(self, cidr: str) -> str:
        """Give the bridge the VPC router's address of `cidr`; idempotent. The address, bare."""
        address = router_address(cidr)
        if address not in self._addresses():
            namespaces.configure(self.name, [f"address add {address} dev {BRIDGE}"])
        return address.partition("/")[0]

    def _addresses(self) -> list[str]:
        shown = tool(["ip", "-n", self.name, "-json", "-4", "address", "show", "dev", BRIDGE])
        return [
            f"{entry['local']}/{entry['prefixlen']}"
            for link in json.loads(shown)
            for entry in link.get("addr_info", ())
        ]

    def plug(self, instance_id: str, address: str, prefix_length: int, router: str) -> str:
        """Make a host's own namespace, linked to the bridge. The namespace's name."""
        guest = host_namespace(self.name, instance_id)
        outer = veth_name(instance_id)
        namespaces.add(guest)
        namespaces.configure(
            self.name,
            [
                f"link add {outer} type veth peer name {GUEST_LINK} netns {guest}",
                f"link set {outer} master {BRIDGE} up",
            ],
        )
        namespaces.configure(
            guest,
            [
                "link set lo up",
                f"address add {address}/{prefix_length} dev {GUEST_LINK}",
                f"link set {GUEST_LINK} up",
                *(f"route add {local} dev {GUEST_LINK}" for local in LINK_LOCAL),
                f"route add default via {router} dev {GUEST_LINK} onlink",
            ],
        )
        return guest

    def unplug(self, instance_id: str) -> None:
        """Remove a host's link and namespace; no error if they are gone.

        The link first: with the namespace alone the kernel would remove it some time later.
        """
        if (namespaces.NETNS_DIR / self.name).exists() and veth_name(instance_id) in self._links():
            try:
                namespaces.configure(self.name, [f"link delete {veth_name(instance_id)}"])
            except HostError:
                if veth_name(instance_id) in self._links():
                    raise
        namespaces.remove(host_namespace(self.name, instance_id))

    def _links(self) -> list[str]:
        shown = tool(["ip", "-n", self.name, "-json", "link", "show", "type", "veth"])
        return [link["ifname"] for link in json.loads(shown or "[]") if link]


def main(argv: Sequence[str] | None = None) -> int:
    """Replace this process by the command, inside the hub. Returns only on an error (1)."""
    parser = argparse.ArgumentParser(
        prog="sglocal exec-in-hub",
        description="Run a command in the hosts' network (as root), e.g. as ssh's ProxyCommand.",
    )
    parser.add_argument("--state-dir", type=Path, required=True, help="the emulator's state folder")
    parser.add_argument("command", nargs="+", metavar="-- command …", help="what to run")
    options = parser.parse_args(argv)
    try:
        namespaces.enter_network(hub_name(options.state_dir))
        os.execvp(options.command[0], options.command)  # noqa: S606
    except HostError as error:
        sys.stderr.write(f"sglocal: {error}\n")
    except OSError as error:
        sys.stderr.write(f"sglocal: {options.command[0]}: {error.strerror}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
