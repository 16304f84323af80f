"""Instance metadata, version 2 (session token).

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_scheduled_events.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import aiohttp

from sglworker.errors import UnreachableError

DEFAULT_ENDPOINT = "http://169.254.169.254"
_TOKEN_S = 21_600
_RENEW_BEFORE_S = 60
_TIMEOUT = aiohttp.ClientTimeout(total=2.0)
_EVENT_TIME = "%d %b %Y %H:%M:%S GMT"


@dataclass(frozen=True)
class SpotNotice:
    """EC2 takes the instance back at `at`."""

    action: str
    at: datetime


@dataclass(frozen=True)
class Maintenance:
    """EC2 will stop, reboot or retire the instance, not before `not_before`."""

    event_id: str
    code: str
    not_before: datetime


class Imds:
    """Reads single values; raises UnreachableError when the service does not answer."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: str = DEFAULT_ENDPOINT) -> None:
        self._session = session
        self._endpoint = endpoint.rstrip("/")
        self._token = ""
        self._token_until = 0.0

    async def instance_id(self) -> str:
        return await self._required("meta-data/instance-id")

    async def region(self) -> str:
        return await self._required("meta-data/placement/region")

    async def private_address(self) -> str:
        return await self._required("meta-data/local-ipv4")

    async def launched_at(self) -> datetime:
        """When EC2 launched the instance, or started it again."""
        text = await self._required("dynamic/instance-identity/document")
        return _parsed(text, "the identity document", _pending_time)

    async def user_data(self) -> str:
        return await self._required("user-data")

    async def target_lifecycle_state(self) -> str | None:
        """Where the group wants the instance (`InService`, `Terminated`…); None without a group."""
        return await self._get("meta-data/autoscaling/target-lifecycle-state")

    async def spot_notice(self) -> SpotNotice | None:
        text = await self._get("meta-data/spot/instance-action")
        return None if text is None else _parsed(text, "a spot notice", _spot_notice)

    async def rebalance_noticed(self) -> str | None:
        """When EC2 saw a higher risk of interruption, as it says it; None without a notice."""
        text = await self._get("meta-data/events/recommendations/rebalance")
        return None if text is None else str(_parsed(text, "a rebalance notice", _notice_time))

    async def maintenance(self) -> tuple[Maintenance, ...]:
        """The scheduled events that are still to come."""
        text = await self._get("meta-data/events/maintenance/scheduled")
        return () if text is None else _parsed(text, "scheduled events", _active_events)

    async def _required(self, path: str) -> str:
        value = await self._get(path)
        if value is None:
            raise UnreachableError(f"metadata: {path} is missing")
        return value

    async def _get(self, path: str) -> str | None:
        """The value, None where the service says there is none (404)."""
        for attempt in (1, 2):
            token = await self._current_token()
            status, text = await self._call(
                "GET", f"latest/{path}", {"X-aws-ec2-metadata-token": token}
            )
            if status == 200:
                return text
            if status == 404:
                return None
            if status == 401 and attempt == 1:  # the service restarted, or the token ran out
                self._token_until = 0.0
                continue
            break
        raise UnreachableError(f"metadata: {path} answered {status}")

    async def _current_token(self) -> str:
        if time.monotonic() >= self._token_until:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_S)}
            status, text = await self._call("PUT", "latest/api/token", headers)
            if status != 200:
                raise UnreachableError(f"metadata: no session token, status {status}")
            self._token = text
            self._token_until = time.monotonic() + _TOKEN_S - _RENEW_BEFORE_S
        return self._token

    async def _call(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        url = f"{self._endpoint}/{path}"
        try:
            async with self._session.request(
                method, url, headers=headers, timeout=_TIMEOUT
            ) as response:
                return response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(
                f"metadata: {url}: {str(error) or type(error).__name__}"
            ) from error


_Parsed = TypeVar("_Parsed")


def _parsed(text: str, what: str, parse: Callable[[Any], _Parsed]) -> _Parsed:
    try:
        return parse(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"metadata: {what} that makes no sense: {text!r}") from error


def _spot_notice(document: Any) -> SpotNotice:
    return SpotNotice(str(document["action"]), datetime.fromisoformat(document["time"]))


def _pending_time(document: Any) -> datetime:
    return datetime.fromisoformat(document["pendingTime"])


def _notice_time(document: Any) -> str:
    return str(document["noticeTime"])


def _active_events(document: Any) -> tuple[Maintenance, ...]:
    """Canceled and completed events stay listed for a while: only `active` ones are to come."""
    return tuple(
        Maintenance(
            str(event["EventId"]),
            str(event["Code"]),
            datetime.strptime(event["NotBefore"], _EVENT_TIME).replace(tzinfo=UTC),
        )
        for event in document
        if event["State"] == "active"
    )
