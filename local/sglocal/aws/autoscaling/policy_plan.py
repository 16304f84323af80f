"""What a scaling policy makes of a group's capacity: pure.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-default-instance-warmup.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CHANGE, EXACT, PERCENT = "ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity"


@dataclass(frozen=True)
class Adjustment:
    """How a policy changes the capacity: by `value` of `kind`, by `at_least` instances if PERCENT.

    `lower`, `upper`: bounds of a step, relative to the alarm's threshold; None is infinite.
    """

    kind: str
    value: int
    at_least: int = 0
    lower: float | None = None
    upper: float | None = None

    def of(self, capacity: int) -> int:
        """The capacity that follows from `capacity`."""
        if self.kind == EXACT:
            return self.value
        if self.kind == CHANGE:
            return capacity + self.value
        change = rounded(capacity * self.value / 100)
        if self.value and abs(change) < self.at_least:
            change = int(math.copysign(self.at_least, self.value))
        return capacity + change


def rounded(change: float) -> int:
    """A percentage's change as a whole number: towards zero, but at least one instance."""
    if change and abs(change) < 1:
        return int(math.copysign(1, change))
    return math.trunc(change)


def step_of(steps: Sequence[Adjustment], breach: float) -> Adjustment | None:
    """The step for a metric `breach` above (below: negative) the threshold, or None.

    Above, the lower bound is in the step and the upper is not; below it is the other way round.
    On the threshold itself both are tried.
    """
    for step in steps:
        lower = -math.inf if step.lower is None else step.lower
        upper = math.inf if step.upper is None else step.upper
        if breach >= 0 and lower <= breach < upper:
            return step
        if breach <= 0 and lower < breach <= upper:
            return step
    return None


@dataclass(frozen=True)
class Sizes:
    """A group at the moment of a decision, in instances.

    `serving`: in service and warmed up; `warming`: on their way in or not warmed up yet, those
    not launched yet included; `leaving`: terminating.
    """

    desired: int
    minimum: int
    maximum: int
    serving: int
    warming: int = 0
    leaving: int = 0

    def bounded(self, capacity: int) -> int:
        return min(self.maximum, max(self.minimum, capacity))

    @property
    def shrinking_from(self) -> int:
        """The capacity that scale-in starts from: with the instances that terminate."""
        return self.serving + self.warming + self.leaving


def simple(adjustment: Adjustment, sizes: Sizes) -> int:
    """The desired capacity after a simple policy, or one that is executed by hand."""
    return sizes.bounded(adjustment.of(sizes.desired))


def stepped(adjustment: Adjustment, sizes: Sizes) -> int:
    """The desired capacity after a step.

    Out: instances that warm up do not count, so a breach that lasts adds no more of them.
    In: instances that terminate count, and nothing is taken while others warm up.
    """
    growing = adjustment.value > (sizes.desired if adjustment.kind == EXACT else 0)
    if growing:
        return max(sizes.desired, sizes.bounded(adjustment.of(sizes.serving)))
    if sizes.warming:
        return sizes.desired
    return min(sizes.desired, sizes.bounded(adjustment.of(sizes.shrinking_from)))


def tracked_out(value: float, target: float, sizes: Sizes) -> int:
    """The desired capacity that brings the metric from `value` down to the target."""
    # Nothing serves, so nothing can be in proportion to the metric: begin with one instance.
    needed = math.ceil(sizes.serving * value / target) if sizes.desired else 1
    return max(sizes.desired, sizes.bounded(needed))


def tracked_in(value: float, target: float, sizes: Sizes) -> int:
    """The desired capacity that brings the metric up to the target at most."""
    if sizes.warming:
        return sizes.desired
    needed = math.ceil(sizes.shrinking_from * value / target)
    return min(sizes.desired, sizes.bounded(needed))
