"""What to do when a worker fails before its first byte. Pure.

Nothing has reached the client then, so another worker may answer instead.
Three bounds: attempts per request, a budget for the whole process (a fleet that is down must not
double its own load), and each worker is tried once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sglrouter.wire.replies import Failure


class Cause(Enum):
    """Why an attempt ended without a response; the value is the metric's label."""

    CONNECT = "connect"
    RESET = "reset"
    STALE = "stale_connection"
    STATUS = "status"
    MALFORMED = "malformed"
    FIRST_BYTE = "first_byte_timeout"


class Step(Enum):
    SAME_WORKER = "same_worker"
    NEXT_WORKER = "next_worker"
    GIVE_UP = "give_up"


RETRIED_STATUS = frozenset({502, 503})
#: Of an external API also what says that our key, not the client's, is refused or used up.
_EXTERNAL_STATUS = RETRIED_STATUS | {401, 403, 429, 500, 504, 529}


def says_no(status: int, *, external: bool = False) -> bool:
    """Whether an answer of this status means that someone else should be asked."""
    return status in (_EXTERNAL_STATUS if external else RETRIED_STATUS)


@dataclass(slots=True)
class RetryBudget:
    """A token bucket: a request adds `per_request`, a second `per_second`, a retry takes one.

    `now` is any monotonic clock in seconds.
    """

    now: float
    cap: float = 100.0
    per_request: float = 0.2
    per_second: float = 10.0
    tokens: float = 100.0

    def deposit(self) -> None:
        if self.tokens < self.cap:
            self.tokens = min(self.cap, self.tokens + self.per_request)

    def has_some(self) -> bool:
        return self.tokens >= 1.0

    def take(self, now: float) -> bool:
        self.tokens = min(self.cap, self.tokens + (now - self.now) * self.per_second)
        self.now = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


def next_step(cause: Cause, *, retries: int, max_retries: int, untried: int) -> Step:
    """After a failed attempt. `retries`: done so far; `untried`: workers not yet tried.

    A kept-alive connection that the worker had closed meanwhile says nothing about the worker:
    the request goes to it again on a fresh connection, and that does not count as a retry.
    """
    if cause is Cause.STALE:
        return Step.SAME_WORKER
    if untried > 0 and retries < max_retries:
        return Step.NEXT_WORKER
    return Step.GIVE_UP


_MESSAGES = {
    Cause.CONNECT: "could not be reached",
    Cause.RESET: "closed the connection before it answered",
    Cause.STALE: "closed the connection before it answered",
    Cause.STATUS: "said that it cannot serve now",
    Cause.MALFORMED: "did not answer in HTTP",
    Cause.FIRST_BYTE: "did not answer in time",
}


def final_failure(cause: Cause, attempts: int) -> Failure:
    """What the client is told when no attempt is left."""
    times = "The worker" if attempts == 1 else f"{attempts} workers were tried; the last one"
    message = f"{times} {_MESSAGES[cause]}."
    if cause is Cause.FIRST_BYTE:
        return Failure(504, "first_byte_timeout", message, retry_after_s=1)
    return Failure(503, "no_worker_answered", message, retry_after_s=1)
