"""Target health as a state machine: pure, one per registered target.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
A new target is healthy after one success; afterwards the group's thresholds decide.
The first checks come every second instead of every interval, so that a fleet is up sooner.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

INITIAL_INTERVAL_S = 1.0


@dataclass(frozen=True)
class CheckRule:
    """A target group's health check; times in seconds."""

    path: str
    matcher: str
    interval_s: float
    timeout_s: float
    healthy_threshold: int
    unhealthy_threshold: int


@dataclass
class TargetHealth:
    """What is known of one target. `next_at`: clock time of the next check."""

    next_at: float = 0.0
    status: str = "initial"
    reason: str | None = "Elb.InitialHealthChecking"
    description: str | None = "Initial health checks in progress"
    successes: int = 0
    failures: int = 0

    def observe(self, answer: int | None, rule: CheckRule, now: float) -> None:
        """Count one check: `answer` is the HTTP status, None when nothing answered in time."""
        if answer is not None and matches(answer, rule.matcher):
            self.successes, self.failures = self.successes + 1, 0
            if self.status == "initial" or self.successes >= rule.healthy_threshold:
                self.status, self.reason, self.description = "healthy", None, None
        else:
            self.successes, self.failures = 0, self.failures + 1
            if self.failures >= rule.unhealthy_threshold and self.status == "healthy":
                self.status = "unhealthy"
            if self.status == "unhealthy":
                self.reason, self.description = explain(answer)
        quick = self.status == "initial"
        self.next_at = now + (
            min(INITIAL_INTERVAL_S, rule.interval_s) if quick else rule.interval_s
        )


def explain(answer: int | None) -> tuple[str, str]:
    """Reason code and description of a failed check."""
    if answer is None:
        return "Target.Timeout", "Request timed out"
    return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{answer}]"


def matches(status: int, matcher: str) -> bool:
    """Whether a status is within a matcher such as `200`, `200,202` or `200-299`."""
    for part in matcher.split(","):
        bounds = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if bounds and int(bounds[1]) <= status <= int(bounds[2] or bounds[1]):
            return True
    return False
