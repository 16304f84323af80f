"""Boot: who am I, what does my fleet run; every source is asked again until one deadline."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sglworker.aws import parameter_name
from sglworker.command import own_address
from sglworker.errors import BootError, DocumentError, UnreachableError
from sglworker.imds import Imds
from sglworker.models import FleetDocument, HostDocument, UserData, parse
from sglworker.worker import Identity

logger = logging.getLogger(__name__)

_First = TypeVar("_First")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 8.0


async def retry(what: str, read: Callable[[], Awaitable[_First]], deadline: float) -> _First:
    """Read until it works. `deadline` is of the loop's clock; then BootError with the last reason.

    A DocumentError is final: asking again would not help.
    """
    loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE_S
    while True:
        try:
            return await read()
        except UnreachableError as error:
            if loop.time() + pause >= deadline:
                raise BootError(f"gave up on {what}: {error}") from error
            logger.warning("%s, again in %.2g s: %s", what, pause, error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)


async def identify(imds: Imds, host: HostDocument, deadline: float) -> Identity:
    """Instance id, address and region. Raises BootError."""

    async def read() -> Identity:
        region = os.environ.get("AWS_REGION") or await imds.region()
        address = own_address(host, await imds.private_address())
        return Identity(await imds.instance_id(), address, region)

    return await retry("instance metadata", read, deadline)


async def told(imds: Imds, deadline: float) -> UserData:
    """The user data. Raises BootError, DocumentError."""
    text = await retry("user data", imds.user_data, deadline)
    return parse(UserData, text, "user data")


async def fleet_document(
    read: Callable[[str, str], Awaitable[str]], user_data: UserData, deadline: float
) -> FleetDocument:
    """The fleet's document, checked against the user data. Raises BootError, DocumentError."""
    environment, fleet = user_data.environment, user_data.fleet
    source = f"SSM parameter {parameter_name(environment, fleet)}"
    text = await retry(source, lambda: read(environment, fleet), deadline)
    document = parse(FleetDocument, text, source)
    if (document.environment, document.fleet) != (environment, fleet):
        raise DocumentError(
            f"{source}: is of fleet {document.fleet} in {document.environment}, this instance is"
            f" of fleet {fleet} in {environment}"
        )
    return document
