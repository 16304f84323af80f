"""CloudWatch's data points: moto keeps every one for ever; here the latest are kept.

Routers put five for each fleet every 10 s, so an emulator that runs for days would only grow,
and moto looks at all of them in every query.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
"""

from __future__ import annotations

from typing import Any

from moto.cloudwatch.models import CloudWatchBackend

from sglocal.aws.emulator import Emulator

# Of all metrics together: two routers and four fleets put so many in 80 minutes.
MAX_DATA = 20_000


def install(emulator: Emulator) -> None:
    """Let the oldest data points make room; those without a time get the emulator's."""

    def bounded(original: Any) -> Any:
        def put_metric_data(
            backend: CloudWatchBackend, namespace: str, metric_data: list[dict[str, Any]]
        ) -> None:
            now = emulator.clock.now().replace(tzinfo=None)  # moto's times have no zone
            timed = [{"Timestamp": now, **each} for each in metric_data]
            original(backend, namespace, timed)
            del backend.metric_data[:-MAX_DATA]

        return put_metric_data

    emulator.patches.wrap(CloudWatchBackend, "put_metric_data", bounded)
