"""Whose address a request came from. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

_FORWARDED_FOR = re.compile(rb"^x-forwarded-for:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def client_address(peer: str, header_lines: bytes, *, forwarded_for: bool) -> str:
    """The client's address: `peer`, or (`forwarded_for`) what the load balancer appended.

    Only the last entry is the load balancer's; what stands before it the client may have written:
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html
    IPv6 clients have a /64 each, so that stands for them.
    """
    found = _FORWARDED_FOR.findall(header_lines) if forwarded_for else []
    last = found[-1].rpartition(b",")[2].strip().decode("latin-1") if found else peer
    try:
        address = ip_address(last)
    except ValueError:
        return peer  # nothing the load balancer writes
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64)) + "/64"
    return str(address)
