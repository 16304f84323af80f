"""The numbers that scaling policies and alarms use, in CloudWatch, zeros too.

Every router says what it takes to be the whole environment's, so that Average over any period is
right however many routers there are: what it alone sees (its queue, its requests) times the live
routers, and what all of them see (ready workers, engines' queues) as it is. Sum would grow with
the period and with the routers.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any

from sglrouter.aws import AwsError, call
from sglrouter.models import CloudWatch
from sglrouter.serving.core import Router
from sglrouter.telemetry.exposition import whole
from sglrouter.telemetry.gauges import Gauges
from sglrouter.telemetry.metrics import FIRST_BYTE_BUCKETS, Metrics

# How late a document that asks for CloudWatch may be noticed.
POLL_S = 1.0
MAX_DATA = 1000  # of one PutMetricData
# Workers whose engines' queues hold requests that somebody waits for.
SERVING_STATES = frozenset({"ready", "draining"})


@dataclass(frozen=True, slots=True)
class FleetNumbers:
    """One fleet at one moment; requests, workers, seconds."""

    queued: float
    in_flight: float
    ready_workers: int
    ttft_p95_s: float

    def metrics(self) -> dict[str, tuple[float, str]]:
        """Name → (value, unit). A fleet without a ready worker divides by one."""
        return {
            "QueueDepth": (self.queued, "Count"),
            "InFlight": (self.in_flight, "Count"),
            "ReadyWorkers": (self.ready_workers, "Count"),
            "QueuePerReadyWorker": (self.queued / max(1, self.ready_workers), "Count"),
            "TTFTp95": (self.ttft_p95_s, "Seconds"),
        }


def quantile(counts: Sequence[int], bounds: Sequence[float], q: float) -> float:
    """The value below which the share `q` of a histogram lies, 0 when it is empty.

    Linear inside a bucket, as Prometheus' histogram_quantile; above the last bound: that bound.
    """
    total = sum(counts)
    if not total:
        return 0.0
    rank = q * total
    below = list(accumulate(counts))
    place = next(i for i, reached in enumerate(below) if reached >= rank)
    if place >= len(bounds):
        return float(bounds[-1])
    low = bounds[place - 1] if place else 0.0
    before = below[place] - counts[place]
    return low + (bounds[place] - low) * (rank - before) / counts[place]


def numbers_of(
    router: Router, gauges: Gauges, first_bytes: Mapping[str, Sequence[int]]
) -> dict[str, FleetNumbers]:
    """Fleet → its numbers; `first_bytes`: fleet → what its histogram gained since last time."""
    routers = 1 + len(router.peers.live)
    engines = dict.fromkeys(router.workers.fleets, 0)
    for worker in router.workers.workers.values():
        if worker.fleet in engines and worker.state in SERVING_STATES:
            engines[worker.fleet] += worker.queued
    return {
        name: FleetNumbers(
            queued=routers * gauges.queue_depth[(name,)] + engines[name],
            in_flight=routers * gauges.in_flight[(name,)],
            ready_workers=len(fleet.ready),
            ttft_p95_s=quantile(first_bytes.get(name, ()), FIRST_BYTE_BUCKETS, 0.95),
        )
        for name, fleet in router.workers.fleets.items()
    }


def metric_data(environment: str, fleets: Mapping[str, FleetNumbers]) -> list[dict[str, Any]]:
    """MetricData at high resolution: alarms and target tracking may look every 10 s."""
    return [
        {
            "MetricName": name,
            "Dimensions": [
                {"Name": "environment", "Value": environment},
                {"Name": "fleet", "Value": fleet},
            ],
            "Value": float(value),
            "Unit": unit,
            "StorageResolution": 1,
        }
        for fleet, numbers in fleets.items()
        for name, (value, unit) in numbers.metrics().items()
    ]


class Publisher:
    """`run` until cancelled; does nothing while the document asks for nothing."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self._logged = False
        self._before: dict[str, list[int]] = {}

    async def run(self) -> None:
        while True:
            wanted = self.router.document.cloudwatch
            if wanted is not None:
                await self._publish(wanted)
            await asyncio.sleep(POLL_S if wanted is None else wanted.interval_s)

    async def _publish(self, wanted: CloudWatch) -> None:
        """One round. A failure is counted, and logged when it is the first in a row."""
        router = self.router
        try:
            metrics = whole(router)
            fleets = numbers_of(router, metrics.gauges, self._gained(metrics))
            data = metric_data(router.document.environment, fleets)
            await asyncio.to_thread(_put, wanted.namespace, data)
        except AwsError as error:
            self._failed({"reason": str(error)})
        except Exception:  # a defect here must not stop the numbers for ever
            self._failed({"traceback": traceback.format_exc()})
        else:
            self._logged = False

    def _failed(self, fields: dict[str, str]) -> None:
        self.router.metrics.cloudwatch_failed()
        if not self._logged:
            self._logged = True
            self.router.log.write("cloudwatch_failed", fields)

    def _gained(self, metrics: Metrics) -> dict[str, list[int]]:
        """What the first-byte histograms gained since the last call."""
        now = {fleet: list(counts) for fleet, counts in metrics.first_byte.counts.items()}
        before, self._before = self._before, now
        return {
            fleet: [a - b for a, b in zip(counts, before.get(fleet, repeat(0)), strict=False)]
            for fleet, counts in now.items()
        }


def _put(namespace: str, data: Sequence[dict[str, Any]]) -> None:
    """Blocks. Raises AwsError."""

    def put(client: Any) -> None:
        for start in range(0, len(data), MAX_DATA):
            part = list(data[start : start + MAX_DATA])
            client.put_metric_data(Namespace=namespace, MetricData=part)

    call("cloudwatch", put)
