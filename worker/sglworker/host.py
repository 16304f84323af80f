"""What the agent asks of its host: processes, and its notices in instance metadata."""

from __future__ import annotations

import os
from typing import Any

from sglworker.imds import Imds


def process_alive(pid: int) -> bool:
    """Whether the process is there; the engine's is another user's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def read_target(imds: Imds) -> dict[str, Any]:
    return {"target": await imds.target_lifecycle_state()}


async def read_spot(imds: Imds) -> dict[str, Any]:
    return {"spot": await imds.spot_notice(), "rebalance": await imds.rebalance_noticed()}


async def read_events(imds: Imds) -> dict[str, Any]:
    return {"maintenance": await imds.maintenance()}
