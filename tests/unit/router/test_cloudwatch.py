"""The numbers in CloudWatch: what they are, zeros too, and what failing costs."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from sglrouter import aws
from sglrouter.aws import AwsError
from sglrouter.telemetry import cloudwatch
from sglrouter.telemetry.cloudwatch import FleetNumbers, metric_data, quantile
from sglrouter.telemetry.metrics import FIRST_BYTE_BUCKETS

NAMES = {"QueueDepth", "InFlight", "ReadyWorkers", "QueuePerReadyWorker", "TTFTp95"}
EACH_SECOND = {"namespace": "sglctl", "interval_s": 1.0}


@pytest.fixture
def amazon(monkeypatch):
    """moto in place of AWS, and no client of an earlier test."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    aws._make.cache_clear()
    with mock_aws():
        yield boto3.client("cloudwatch")
    aws._make.cache_clear()


def average(client, name, fleet="chat"):
    """CloudWatch's own Average over what was published in the last minutes; None: nothing."""
    now = datetime.now(UTC)
    points = client.get_metric_statistics(
        Namespace="sglctl",
        MetricName=name,
        Dimensions=[
            {"Name": "environment", "Value": "local"},
            {"Name": "fleet", "Value": fleet},
        ],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=10),
        Period=3600,
        Statistics=["Average"],
    )["Datapoints"]
    return points[0]["Average"] if points else None


def test_an_idle_router_publishes_zeros_for_every_fleet(lab, amazon):
    async def scenario():
        fleets = {"chat": {"models": ["tiny"]}, "idle": {"models": ["none"]}}
        async with lab.world(
            lab.FakeWorker(), ready=False, fleets=fleets, cloudwatch=EACH_SECOND
        ) as world:
            await lab.until(lambda: average(amazon, "QueueDepth", "idle") is not None)
            found = {name: average(amazon, name, "idle") for name in NAMES}
            assert found == dict.fromkeys(NAMES, 0.0)
            assert world.router.metrics.cloudwatch_errors == {(): 0}

    lab.run(scenario())


def test_what_only_this_router_sees_is_taken_times_the_live_routers(lab):
    """And what the agents tell, every router sees: it is taken once."""

    async def scenario():
        workers = [lab.FakeWorker(state={"queued": 3}), lab.FakeWorker(state={"queued": 4})]
        async with lab.world(*workers) as world:
            router = world.router
            router.peers.live = (SimpleNamespace(), SimpleNamespace())  # three routers in all
            metrics = cloudwatch.whole(router)
            metrics.gauges.queue_depth[("chat",)] = 5
            metrics.gauges.in_flight[("chat",)] = 10
            counts = [0] * (len(FIRST_BYTE_BUCKETS) + 1)
            counts[bisect_left(FIRST_BYTE_BUCKETS, 0.2)] = 10
            found = cloudwatch.numbers_of(router, metrics.gauges, {"chat": counts})
            router.peers.live = ()
            assert found == {"chat": FleetNumbers(22, 30, 2, pytest.approx(0.195))}
            values = {k: v for k, (v, _) in found["chat"].metrics().items()}
            assert values["QueuePerReadyWorker"] == 11

    lab.run(scenario())


def test_ttft_is_that_of_the_last_interval_only(lab):
    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            publisher, router = cloudwatch.Publisher(world.router), world.router
            router.metrics.first_byte.observe("chat", 70.0)
            publisher._gained(cloudwatch.whole(router))
            router.metrics.first_byte.observe("chat", 0.3)
            gained = publisher._gained(cloudwatch.whole(router))["chat"]
            assert sum(gained) == 1
            assert 0.2 < quantile(gained, FIRST_BYTE_BUCKETS, 0.95) <= 0.4
            assert sum(publisher._gained(cloudwatch.whole(router))["chat"]) == 0

    lab.run(scenario())


def test_a_failing_cloudwatch_is_counted_logged_once_and_costs_no_request(lab, monkeypatch):
    calls = []

    def fail(service, operation):
        calls.append(service)
        raise AwsError("cloudwatch: no way")

    monkeypatch.setattr(cloudwatch, "call", fail)

    async def scenario():
        async with lab.world(lab.FakeWorker(), cloudwatch=EACH_SECOND) as world:
            await lab.until(lambda: world.router.metrics.cloudwatch_errors[()] > 2)
            assert (await world.ask(lab.post())).status == 200
            lines = [line for line in world.log() if line["event"] == "cloudwatch_failed"]
            assert [line["reason"] for line in lines] == ["cloudwatch: no way"]

    lab.run(scenario())
    assert set(calls) == {"cloudwatch"}


def test_every_number_is_of_high_resolution_and_names_environment_and_fleet():
    data = metric_data("prod", {"a": FleetNumbers(1, 2, 0, 0.5), "b": FleetNumbers(0, 0, 1, 0)})
    assert len(data) == 2 * len(NAMES)
    for datum in data:
        assert datum["StorageResolution"] == 1
        names = {d["Name"]: d["Value"] for d in datum["Dimensions"]}
        assert names["environment"] == "prod"
        assert names["fleet"] in ("a", "b")
    assert {d["MetricName"] for d in data} == NAMES


bounds = (0.1, 0.5, 1.0)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values, q):
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect_left(bounds, value)] += 1
    rank = next(n for n in range(1, len(values) + 1) if n >= q * len(values))
    true = sorted(values)[rank - 1]
    found = quantile(counts, bounds, q)
    place = bisect_left(bounds, true)
    low = bounds[place - 1] if place else 0.0
    high = bounds[place] if place < len(bounds) else bounds[-1]
    assert low <= found <= high + 1e-9 or (place == len(bounds) and found == bounds[-1])


def test_a_quantile_of_nothing_is_zero():
    assert quantile([0, 0], (1.0,), 0.95) == 0.0
    assert quantile((), (), 0.95) == 0.0
