"""Every name hosts have on the machine, derived from the state folder.

Two state folders never share a name, so two emulators on one machine never meet,
and a sweep needs nothing but the state folder to know what is its own.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from pathlib import Path

from sglocal.hosts.driver import HostError

BRIDGE = "br0"
GUEST_LINK = "host0"
METADATA_ADDRESS = "169.254.169.254"
API_ADDRESS = "169.254.169.253"

_INSTANCE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


def hub_name(state_dir: Path) -> str:
    """`sgl-` and 8 hex digits: the network namespace and the cgroup of this state folder."""
    return "sgl-" + hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:8]


def host_namespace(hub: str, instance_id: str) -> str:
    """The network namespace of one host; starts with the hub's name."""
    return f"{hub}-{checked_id(instance_id)}"


def veth_name(instance_id: str) -> str:
    """The hub's end of a host's link (15 characters at most, IFNAMSIZ)."""
    return "v" + hashlib.sha256(instance_id.encode()).hexdigest()[:12]


def host_name(address: str) -> str:
    """EC2's default host name for a private address: 10.40.0.11 -> ip-10-40-0-11."""
    return "ip-" + address.replace(".", "-")


def router_address(cidr: str) -> str:
    """The VPC router's interface address: the first of the network, with its prefix length.

    https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
    """
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise HostError(f"{cidr!r} is no IPv4 network: {error}") from error
    if network.prefixlen > 28:
        raise HostError(f"{cidr} is too small for a VPC: AWS allows /16 to /28")
    return f"{network.network_address + 1}/{network.prefixlen}"


def loopback_address(private_ip: str) -> str:
    """The address of a process host: a.b.c.d answers at 127.b.c.d."""
    try:
        address = ipaddress.IPv4Address(private_ip)
    except ValueError as error:
        raise HostError(f"{private_ip!r} is no IPv4 address") from error
    return "127." + str(address).split(".", 1)[1]


def checked_id(instance_id: str) -> str:
    """The id, if it is safe as a folder, namespace and cgroup name. Raises HostError."""
    if not _INSTANCE_ID.fullmatch(instance_id):
        raise HostError(f"{instance_id!r} is no instance id (lower-case letters, digits, dashes)")
    return instance_id
