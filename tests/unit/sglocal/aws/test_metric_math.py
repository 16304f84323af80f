"""Metric math on series of data points, None where one is missing."""

from __future__ import annotations

import pytest

from sglocal.aws.metric_math import MetricMathError, Series, evaluate

GIVEN: dict[str, Series] = {"m1": [6.0, None, 9.0], "m2": [2.0, 4.0, 0.0]}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("m1 / m2", [3.0, None, None]),
        ("(m1 + 2) * -m2", [-16.0, None, -0.0]),
        ("m2 ^ 2", [4.0, 16.0, 0.0]),
        ("FILL(m1, 0) - m2", [4.0, -4.0, 9.0]),
        ("FILL(m1, REPEAT)", [6.0, 6.0, 9.0]),
        ("IF(m2 > 1, m1, 5)", [6.0, None, 5.0]),
        ("MAX(m1)", [9.0, 9.0, 9.0]),
        ("AVG(m2)", [2.0, 2.0, 2.0]),
        ("CEIL(m1 / 4)", [2.0, None, 3.0]),
        ("(0 - m2) ^ 0.5", [None, None, 0.0]),
        ("(m2 ^ 999) ^ 999", [None, None, 0.0]),
    ],
)
def test_expressions_are_computed_point_by_point(expression: str, expected: Series) -> None:
    assert evaluate(expression, GIVEN, 3) == expected


@pytest.mark.parametrize(
    "expression",
    ["m3", "m1 +", "RATE(m1)", "__import__('os')", "m1.real", "FILL(m1, m2, 3)", "[m1]"],
)
def test_what_is_not_understood_is_refused(expression: str) -> None:
    with pytest.raises(MetricMathError):
        evaluate(expression, GIVEN, 3)
