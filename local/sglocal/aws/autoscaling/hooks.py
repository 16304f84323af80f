"""Lifecycle hooks that hold an instance: pure, times in seconds on the emulator's clock.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutLifecycleHook.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from moto.moto_api._internal import mock_random

Result = Literal["CONTINUE", "ABANDON"]

# An instance waits 48 hours or 100 heartbeat timeouts at most, whichever is shorter.
LONGEST_HOLD_S = 48 * 3600


def longest_hold_s(heartbeat_timeout_s: int) -> int:
    """The global timeout of a hook, in seconds."""
    return min(LONGEST_HOLD_S, 100 * heartbeat_timeout_s)


@dataclass
class PendingAction:
    """A hook that holds an instance. `announced`: its event is sent."""

    hook: str
    default_result: Result
    timeout_s: float
    deadline: float
    last_deadline: float
    token: str = field(default_factory=lambda: str(mock_random.uuid4()))
    result: Result | None = None
    timed_out: bool = False
    announced: bool = False

    @classmethod
    def start(cls, hook: str, result: Result, timeout_s: int, now: float) -> PendingAction:
        """A hook that begins to hold now."""
        limit = now + longest_hold_s(timeout_s)
        return cls(hook, result, float(timeout_s), min(now + timeout_s, limit), limit)

    def heartbeat(self, now: float) -> None:
        """Extend to a full timeout from now, never past the hook's global limit."""
        self.deadline = min(now + self.timeout_s, self.last_deadline)

    def settle(self, now: float) -> None:
        """Apply the default result once the deadline has passed."""
        if self.result is None and now >= self.deadline:
            self.result, self.timed_out = self.default_result, True

    def ending(self) -> str:
        """How the wait ended, in AWS's words."""
        if self.timed_out:
            return "Heartbeat Timeout"
        return f"Lifecycle Action Completed with {self.result} Result"


def outcome(actions: Iterable[PendingAction]) -> Result | None:
    """What several hooks decide together: None while one still holds.

    One ABANDON ends the wait at once; CONTINUE lets the other hooks complete.
    """
    results = [action.result for action in actions]
    if "ABANDON" in results:
        return "ABANDON"
    return None if None in results else "CONTINUE"
