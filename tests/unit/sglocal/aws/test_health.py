"""Target health, check by check."""

from __future__ import annotations

import pytest

from sglocal.aws.health import CheckRule, TargetHealth, matches

RULE = CheckRule("/health", "200", 30.0, 5.0, healthy_threshold=3, unhealthy_threshold=2)


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([], "initial"),
        ([503, None, 503], "initial"),
        ([200], "healthy"),
        ([200, 500], "healthy"),
        ([200, 500, None], "unhealthy"),
        ([200, 500, 500, 200, 200], "unhealthy"),
        ([200, 500, 500, 200, 200, 200], "healthy"),
    ],
)
def test_thresholds_decide_after_the_first_success(answers: list[int | None], status: str) -> None:
    health = TargetHealth()
    for answer in answers:
        health.observe(answer, RULE, now=0.0)
    assert health.status == status


def test_first_checks_are_quick_and_later_ones_at_the_interval() -> None:
    health = TargetHealth()
    health.observe(None, RULE, now=10.0)
    assert health.next_at == 11.0
    health.observe(200, RULE, now=11.0)
    assert health.next_at == 41.0


@pytest.mark.parametrize(
    ("status", "matcher", "expected"),
    [(200, "200", True), (204, "200-299", True), (302, "200,302", True), (500, "200-299", False)],
)
def test_matchers_are_lists_and_ranges(status: int, matcher: str, expected: bool) -> None:
    assert matches(status, matcher) is expected
