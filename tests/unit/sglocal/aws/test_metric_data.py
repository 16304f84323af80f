"""CloudWatch's data points are bounded in number; the latest are kept, and moto's own put back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from moto.cloudwatch.models import CloudWatchBackend

from sglocal.aws import metric_data
from sglocal.aws.patches import Patches
from sglocal.clock import VirtualClock


def test_the_latest_data_points_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_data, "MAX_DATA", 3)
    emulator: Any = SimpleNamespace(patches=Patches(), clock=VirtualClock())
    before = CloudWatchBackend.put_metric_data
    metric_data.install(emulator)
    backend = CloudWatchBackend("us-east-1", "111122223333")
    kept = []
    for first in (0, 2, 4):
        data = [{"MetricName": "QueueDepth", "Value": value} for value in (first, first + 1)]
        backend.put_metric_data("sglctl", data)
        kept.append([datum.value for datum in backend.metric_data])
    emulator.patches.undo()
    assert kept == [[0, 1], [1, 2, 3], [3, 4, 5]]
    assert CloudWatchBackend.put_metric_data is before
