"""Opens connections to targets."""

from __future__ import annotations

import asyncio

from sglrouter.serving.target import Target
from sglrouter.wire.upstream import Upstream


async def connect(target: Target, timeout_s: float) -> Upstream:
    """A fresh connection. Raises OSError (also when it takes too long, and for a TLS failure)."""
    connection, address = Upstream(target), target.address
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                address.host,
                address.port,
                ssl=target.tls,
                server_hostname=address.host if target.tls is not None else None,
            )
    except asyncio.CancelledError:  # nobody waits for it any more; it may stand already
        connection.discard()
        raise
    return connection
