"""Time as the emulator sees it: the machine's, or one that only moves when it is told to."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Seconds that never go back, and the date and time that go with them."""

    def __call__(self) -> float:
        """Seconds since an arbitrary moment."""

    def now(self) -> datetime:
        """Date and time in UTC."""


class SystemClock:
    """The machine's clock."""

    def __call__(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


class VirtualClock:
    """Stands still until `advance`: hours of history cost no waiting, and repeat exactly."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._seconds = 0.0

    def __call__(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds)

    def advance(self, seconds: float) -> None:
        """Move on. Raises ValueError for going back."""
        if seconds < 0:
            raise ValueError(f"time does not go back ({seconds} s)")
        self._seconds += seconds
