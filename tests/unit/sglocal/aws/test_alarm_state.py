"""The tables of CloudWatch's own page on missing data, row by row.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
`0` does not breach, `X` breaches, `-` is missing; the evaluation range is five points.
"""

from __future__ import annotations

import pytest

from sglocal.aws.alarm_state import ALARM, INSUFFICIENT, OK, Rule, aggregate, evaluate

BEFORE = "what it was"
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
THREE_OF_THREE = {
    "0-X-X": (OK, OK, OK, OK),
    "0----": (OK, OK, OK, OK),
    "-----": (INSUFFICIENT, BEFORE, ALARM, OK),
    "0XX-X": (ALARM, ALARM, ALARM, ALARM),
    "--X--": (ALARM, BEFORE, ALARM, OK),
}
TWO_OF_THREE = {
    "0-X-X": (ALARM, ALARM, ALARM, ALARM),
    "00X0X": (ALARM, ALARM, ALARM, ALARM),
    "0-X--": (OK, OK, ALARM, OK),
    "----0": (OK, OK, ALARM, OK),
    "---X-": (ALARM, BEFORE, ALARM, OK),
}
ROWS = [
    (needed, row, treatment, expected)
    for needed, table in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
    for row, states in table.items()
    for treatment, expected in zip(TREATMENTS, states, strict=True)
]


@pytest.mark.parametrize(("needed", "row", "treatment", "expected"), ROWS)
def test_missing_data_is_treated_as_documented(
    needed: int, row: str, treatment: str, expected: str
) -> None:
    rule = Rule("GreaterThanThreshold", 5.0, 3, needed, treatment)
    points = [{"0": 0.0, "X": 9.0, "-": None}[sign] for sign in row]
    assert evaluate(rule, points, BEFORE) == expected


@pytest.mark.parametrize(
    ("row", "expected"), [("----X", BEFORE), ("---X-", BEFORE), ("--X--", ALARM), ("--XX-", ALARM)]
)
def test_too_few_points_raise_no_alarm_before_its_time(row: str, expected: str) -> None:
    rule = Rule("GreaterThanThreshold", 5.0, 3, 3)
    points = [9.0 if sign == "X" else None for sign in row]
    assert evaluate(rule, points, BEFORE) == expected


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        ("GreaterThanThreshold", [OK, OK, ALARM]),
        ("GreaterThanOrEqualToThreshold", [OK, ALARM, ALARM]),
        ("LessThanThreshold", [ALARM, OK, OK]),
        ("LessThanOrEqualToThreshold", [ALARM, ALARM, OK]),
    ],
)
def test_a_point_on_the_threshold_breaches_where_it_says_equal(
    comparison: str, expected: list[str]
) -> None:
    rule = Rule(comparison, 5.0, 1, 1)
    assert [evaluate(rule, [value], BEFORE) for value in (4.0, 5.0, 6.0)] == expected


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("Sum", 9.0), ("Average", 3.0), ("Minimum", 1.0), ("Maximum", 6.0), ("SampleCount", 3.0),
     ("p99", None)],
)  # fmt: skip
def test_a_periods_values_become_one_point(statistic: str, expected: float | None) -> None:
    assert aggregate(statistic, [1.0, 2.0, 6.0]) == expected
    assert aggregate(statistic, []) is None
