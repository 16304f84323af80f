"""What a key's holder may use, and how many wrong keys an address may send. Pure.

Time is passed in (monotonic seconds). Bounds are an environment's: `share` is the part of them
this process enforces, 1 / (live routers · processes of each).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Set
from dataclasses import dataclass

from sglrouter.access.keys import KeyInfo
from sglrouter.wire.replies import Failure

MINUTE_S = 60.0
ROUNDING = 1e-9
#: Addresses with wrong keys that are remembered; the one unseen for longest makes room.
MAX_ADDRESSES = 10_000

TOO_MANY_WRONG_KEYS = Failure(
    429,
    "too_many_wrong_keys",
    "This address has sent too many wrong API keys; wait a minute.",
    retry_after_s=60,
)


@dataclass(slots=True)
class Bucket:
    """A token bucket (https://en.wikipedia.org/wiki/Token_bucket) whose level may fall below 0."""

    level: float
    at: float

    def refill(self, now: float, rate: float, capacity: float) -> None:
        self.level = min(capacity, self.level + max(0.0, now - self.at) * rate)
        self.at = now


@dataclass(slots=True)
class _Use:
    """What one key's holder uses now; a bucket is made when its bound is first seen."""

    running: int = 0
    requests: Bucket | None = None
    tokens: Bucket | None = None


def _wait(bound: str, what: str, seconds: float) -> Failure:
    after = max(1, math.ceil(seconds))
    return Failure(
        429, f"rate_limited_{bound}", f"This API key may use {what}.", retry_after_s=after
    )


class KeyLimits:
    """Admits requests within their keys' bounds."""

    def __init__(self, failed_per_minute: int = 60) -> None:
        self.failed_per_minute = failed_per_minute
        self._uses: dict[str, _Use] = {}
        self._failed: OrderedDict[str, Bucket] = OrderedDict()

    def admit(self, key: KeyInfo, tokens: int, now: float, share: float) -> Failure | None:
        """Count a request of `tokens` estimated tokens, or say which bound forbids it.

        Whoever is admitted must be given back by `release`. A refused request uses nothing.
        A request larger than a minute's tokens is admitted when the bucket is full.
        """
        if not key.bounded:
            return None
        use = self._uses.setdefault(key.name, _Use())
        failure = (
            self._concurrency(key, use, share)
            or self._requests(key, use, now, share)
            or self._tokens(key, use, tokens, now, share)
        )
        if failure is not None:
            return failure
        use.running += 1
        if use.requests is not None:
            use.requests.level -= 1
        if use.tokens is not None:
            use.tokens.level -= tokens
        return None

    def _concurrency(self, key: KeyInfo, use: _Use, share: float) -> Failure | None:
        if key.concurrency is None or use.running < max(1, int(key.concurrency * share + ROUNDING)):
            return None
        return _wait("concurrency", f"{key.concurrency} requests at a time", 1)

    def _requests(self, key: KeyInfo, use: _Use, now: float, share: float) -> Failure | None:
        if key.requests_per_second is None:
            use.requests = None
            return None
        rate = key.requests_per_second * share
        capacity = max(1.0, rate)  # a second's worth at once
        use.requests = bucket = use.requests or Bucket(capacity, now)
        bucket.refill(now, rate, capacity)
        if bucket.level >= 1 - ROUNDING:
            return None
        what = f"{key.requests_per_second:g} requests per second"
        return _wait("requests", what, (1 - bucket.level) / rate)

    def _tokens(
        self, key: KeyInfo, use: _Use, tokens: int, now: float, share: float
    ) -> Failure | None:
        if key.tokens_per_minute is None:
            use.tokens = None
            return None
        capacity = key.tokens_per_minute * share
        use.tokens = bucket = use.tokens or Bucket(capacity, now)
        bucket.refill(now, capacity / MINUTE_S, capacity)
        missing = min(tokens, capacity) - bucket.level
        if missing <= ROUNDING:
            return None
        what = f"{key.tokens_per_minute} tokens per minute"
        return _wait("tokens", what, missing * MINUTE_S / capacity)

    def release(self, key: KeyInfo) -> None:
        """An admitted request is over; one that was unbounded when it began was not counted."""
        use = self._uses.get(key.name) if key.bounded else None
        if use is not None and use.running > 0:
            use.running -= 1

    def spent(self, key: KeyInfo, tokens: int, estimate: int) -> None:
        """The request used `tokens`, where `admit` had counted `estimate`."""
        use = self._uses.get(key.name)
        if use is not None and use.tokens is not None:
            use.tokens.level += estimate - tokens

    def keep(self, names: Set[str]) -> None:
        """Forget keys that are not among `names` and have nothing running."""
        gone = [n for n, use in self._uses.items() if n not in names and use.running == 0]
        for name in gone:
            del self._uses[name]

    def failed_auth(self, address: str, now: float) -> bool:
        """Count a wrong key from `address`; True: it has sent too many, answer 429.

        A right key is taken from the same address all the same: many clients may share it.
        """
        limit = float(self.failed_per_minute)
        bucket = self._failed.pop(address, None) or Bucket(limit, now)
        self._failed[address] = bucket  # the newest is last
        if len(self._failed) > MAX_ADDRESSES:
            self._failed.popitem(last=False)
        bucket.refill(now, limit / MINUTE_S, limit)
        if bucket.level < 1:
            return True
        bucket.level -= 1
        return False
