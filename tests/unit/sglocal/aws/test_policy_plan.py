"""What scaling policies decide; the figures are those of AWS's pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglocal.aws.autoscaling.policy_plan import (
    CHANGE,
    EXACT,
    PERCENT,
    Adjustment,
    Sizes,
    rounded,
    simple,
    step_of,
    stepped,
    tracked_in,
    tracked_out,
)

OUT = [
    Adjustment(PERCENT, 0, lower=0, upper=10),
    Adjustment(PERCENT, 10, lower=10, upper=20),
    Adjustment(PERCENT, 30, lower=20),
]
IN = [
    Adjustment(PERCENT, 0, lower=-10, upper=0),
    Adjustment(PERCENT, -10, lower=-20, upper=-10),
    Adjustment(PERCENT, -30, upper=-20),
]
ADJUSTMENTS = st.builds(
    Adjustment,
    st.sampled_from([CHANGE, EXACT, PERCENT]),
    st.integers(-200, 200),
    st.integers(0, 5),
)


@st.composite
def groups(draw: st.DrawFn) -> Sizes:
    minimum = draw(st.integers(0, 20))
    maximum = draw(st.integers(minimum, 40))
    return Sizes(
        desired=draw(st.integers(minimum, maximum)),
        minimum=minimum,
        maximum=maximum,
        serving=draw(st.integers(0, 40)),
        warming=draw(st.integers(0, 5)),
        leaving=draw(st.integers(0, 5)),
    )


@pytest.mark.parametrize(
    ("change", "expected"), [(12.7, 12), (0.67, 1), (-0.58, -1), (-6.67, -6), (0.0, 0), (1.0, 1)]
)
def test_percentages_are_rounded_as_documented(change: float, expected: int) -> None:
    assert rounded(change) == expected


@pytest.mark.parametrize(
    ("adjustment", "capacity", "expected"),
    [
        (Adjustment(CHANGE, 5), 3, 8),
        (Adjustment(EXACT, 5), 3, 5),
        (Adjustment(PERCENT, 10), 10, 11),
        (Adjustment(PERCENT, 25, at_least=2), 4, 6),
        (Adjustment(PERCENT, -25, at_least=2), 4, 2),
        (Adjustment(PERCENT, 0, at_least=2), 4, 4),
    ],
)
def test_adjustments_change_the_capacity_as_documented(
    adjustment: Adjustment, capacity: int, expected: int
) -> None:
    assert adjustment.of(capacity) == expected


@pytest.mark.parametrize(
    ("steps", "metric", "expected"),
    [
        *((OUT, at, is_) for at, is_ in ((50, 0), (59.9, 0), (60, 10), (70, 30), (49, None))),
        *((IN, at, is_) for at, is_ in ((50, 0), (40.1, 0), (40, -10), (30, -30), (51, None))),
    ],
)
def test_a_step_holds_the_bound_that_is_farther_from_the_threshold(
    steps: list[Adjustment], metric: float, expected: int | None
) -> None:
    step = step_of(steps, metric - 50)
    assert (None if step is None else step.value) == expected


@pytest.mark.parametrize(
    ("adjustment", "sizes", "expected"),
    [
        (OUT[1], Sizes(10, 1, 20, serving=10), 11),
        (OUT[1], Sizes(11, 1, 20, serving=10, warming=1), 11),
        (OUT[2], Sizes(11, 1, 20, serving=10, warming=1), 13),
        (OUT[2], Sizes(11, 1, 20, serving=11), 14),
        (IN[1], Sizes(14, 1, 20, serving=14), 13),
        (IN[1], Sizes(13, 1, 20, serving=13, leaving=1), 13),
        (IN[2], Sizes(13, 1, 20, serving=13), 10),
        (IN[2], Sizes(13, 1, 20, serving=12, warming=1), 13),
        (Adjustment(EXACT, 4), Sizes(6, 1, 20, serving=6), 4),
    ],
)
def test_steps_count_neither_what_warms_up_nor_twice_what_leaves(
    adjustment: Adjustment, sizes: Sizes, expected: int
) -> None:
    assert stepped(adjustment, sizes) == expected


@pytest.mark.parametrize(
    ("value", "sizes", "expected"),
    [
        (70, Sizes(2, 0, 9, serving=2), 4),
        (70, Sizes(4, 0, 9, serving=2, warming=2), 4),
        (41, Sizes(2, 0, 9, serving=2), 3),
        (400, Sizes(2, 0, 9, serving=2), 9),
        (70, Sizes(0, 0, 9, serving=0), 1),
    ],
)
def test_target_tracking_rounds_up_when_it_adds(value: float, sizes: Sizes, expected: int) -> None:
    assert tracked_out(value, 40.0, sizes) == expected


@pytest.mark.parametrize(
    ("value", "sizes", "expected"),
    [
        (25, Sizes(4, 0, 9, serving=4), 3),
        (0, Sizes(4, 0, 9, serving=4), 0),
        (0, Sizes(4, 2, 9, serving=4), 2),
        (10, Sizes(4, 0, 9, serving=3, warming=1), 4),
    ],
)
def test_target_tracking_removes_no_more_than_it_must(
    value: float, sizes: Sizes, expected: int
) -> None:
    assert tracked_in(value, 40.0, sizes) == expected


@given(ADJUSTMENTS, groups())
def test_policies_stay_within_the_groups_bounds(adjustment: Adjustment, sizes: Sizes) -> None:
    for wanted in (simple(adjustment, sizes), stepped(adjustment, sizes)):
        assert sizes.minimum <= wanted <= sizes.maximum


@given(st.floats(0, 1e6), st.floats(0.001, 1e6), groups())
def test_target_tracking_adds_above_and_removes_below(
    value: float, target: float, sizes: Sizes
) -> None:
    assert sizes.desired <= tracked_out(value, target, sizes) <= sizes.maximum
    assert sizes.minimum <= tracked_in(value, target, sizes) <= sizes.desired
