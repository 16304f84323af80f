"""Requests that wait for a worker: first come, first served within a priority class. Pure.

A request waits at the router while every worker is full, since a worker's own queue cannot be
taken back when another worker becomes free.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

from sglrouter.models import Priority, Queue

T = TypeVar("T")

CLASSES: tuple[Priority, ...] = ("high", "normal", "low")


class Admission(Generic[T]):
    """One fleet's queue. Leaving it costs the same wherever one stands."""

    __slots__ = ("_classes", "count", "settings")

    def __init__(self, settings: Queue) -> None:
        self.settings = settings
        self._classes: dict[Priority, OrderedDict[T, float]] = {c: OrderedDict() for c in CLASSES}
        self.count = 0  # how many wait

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[T]:
        """Everyone, the next one first."""
        for waiting in self._classes.values():
            yield from waiting

    def position(self, priority: Priority) -> int:
        """Where a newcomer of this class would stand; 1 is next."""
        ahead = CLASSES[: CLASSES.index(priority) + 1]
        return 1 + sum(len(self._classes[c]) for c in ahead)

    def offer(self, item: T, priority: Priority, now: float) -> bool:
        """Queue it at the end of its class; False: the queue is full."""
        if self.count >= self.settings.size:
            return False
        self._classes[priority][item] = now
        self.count += 1
        return True

    def remove(self, item: T, priority: Priority) -> bool:
        """It got a worker, or waits no longer; False: it was not here."""
        if self._classes[priority].pop(item, None) is None:
            return False
        self.count -= 1
        return True

    def expired(self, now: float) -> list[T]:
        """Those who have waited `timeout_s`; they stay until they are removed."""
        late = []
        for waiting in self._classes.values():
            for item, since in waiting.items():  # in order of arrival
                if now - since < self.settings.timeout_s:
                    break
                late.append(item)
        return late
