"""When a group launches again after a failure."""

from __future__ import annotations

import pytest

from sglocal.aws.autoscaling.records import GroupRecord


@pytest.mark.parametrize(("failures", "wait"), [(1, 5.0), (2, 10.0), (4, 40.0), (9, 60.0)])
def test_launches_wait_longer_with_every_failure_and_a_minute_at_most(
    failures: int, wait: float
) -> None:
    record = GroupRecord()
    for _ in range(failures):
        record.failed(100.0)
    assert record.launch_after == 100.0 + wait


def test_a_zone_without_capacity_is_avoided_and_another_tried_at_once() -> None:
    record = GroupRecord()
    record.failed(0.0, "a")
    assert (record.launch_after, record.avoided(1.0)) == (0.0, frozenset("a"))
    record.failed(1.0, "a")
    assert record.launch_after == 6.0
    assert record.avoided(1000.0) == frozenset()


def test_a_success_ends_the_waiting() -> None:
    record = GroupRecord()
    record.failed(100.0)
    record.succeeded()
    assert (record.failures, record.launch_after) == (0, 0.0)
