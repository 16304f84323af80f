"""What state an alarm is in, from the latest data points: pure.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"
# How many points before the evaluation periods are looked at, to find real ones.
LOOK_BACK = 2
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


@dataclass(frozen=True)
class Rule:
    """An alarm's condition: `to_alarm` of the last `periods` data points beyond the threshold.

    `missing`: `missing`, `ignore`, `breaching` or `notBreaching`.
    """

    comparison: str
    threshold: float
    periods: int
    to_alarm: int
    missing: str = "missing"

    @property
    def span(self) -> int:
        """How many data points an evaluation looks at."""
        return self.periods + LOOK_BACK

    def breaches(self, value: float) -> bool:
        return COMPARISONS[self.comparison](value, self.threshold)


def evaluate(rule: Rule, points: Sequence[float | None], before: str) -> str:
    """The new state. `points`: one for each period, the oldest first, None where data is missing;
    `before`: the state until now.
    """
    known = [(place, rule.breaches(v)) for place, v in enumerate(points) if v is not None]
    known = known[-rule.periods :]
    real = [breaches for _, breaches in known]
    lacking = rule.periods - len(real)
    breaching = sum(real) + (lacking if rule.missing == "breaching" else 0)
    if breaching >= rule.to_alarm:
        return ALARM
    if not lacking or rule.missing in ("breaching", "notBreaching") or not all(real):
        return OK
    # All that is known breaches, or nothing is known.
    if rule.missing == "ignore":
        return before
    if not real:
        return INSUFFICIENT
    # Not before its time: the points to come may not breach.
    age = len(points) - known[0][0]
    return ALARM if age >= rule.to_alarm else before


def aggregate(statistic: str, values: Sequence[float]) -> float | None:
    """One data point from a period's values; None without any or for a percentile."""
    if statistic == "SampleCount":
        return float(len(values)) if values else None
    if not values:
        return None
    match statistic:
        case "Average":
            return sum(values) / len(values)
        case "Sum":
            return float(sum(values))
        case "Minimum":
            return min(values)
        case "Maximum":
            return max(values)
    return None
