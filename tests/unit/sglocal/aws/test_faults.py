"""Faults: which call they meet, how often, and what the caller sees."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from sglocal.aws.fault_list import Fault, FaultList, parse_fault
from sglocal.aws.faults import FaultyApp, message_of
from sglocal.errors import LocalError
from sglocal.fault_routes import FaultRoutes


class Locked:
    """As much of the emulator as faults need."""

    lock = threading.RLock()


def call(app: FaultyApp, environ: dict[str, Any]) -> tuple[str, bytes]:
    seen: list[str] = []
    body = b"".join(app(environ, lambda status, _headers: seen.append(status)))
    return seen[0], body


def reach(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", [])
    return [environ["wsgi.input"].read() if "wsgi.input" in environ else b""]


def query(action: str, service: str = "autoscaling") -> dict[str, Any]:
    body = f"Action={action}&Version=x".encode()
    return {
        "CONTENT_TYPE": "application/x-www-form-urlencoded; charset=utf-8",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential=k/d/r/{service}/aws4_request, …",
        "wsgi.input": io.BytesIO(body),
    }


def faulty(*faults: Fault) -> tuple[FaultyApp, list[float]]:
    known, slept = FaultList(), []
    for fault in faults:
        known.add(fault)
    emulator: Any = Locked()
    return FaultyApp(reach, emulator, known, slept.append), slept


def test_a_fault_meets_as_many_calls_as_it_says() -> None:
    faults = FaultList()
    faults.add(Fault("StartInstances", "Throttling", times=2))
    met = [faults.take("StartInstances") is not None for _ in range(3)]
    assert met == [True, True, False]
    assert faults.active == {}


def test_a_fault_of_a_probability_meets_that_share_of_calls_and_counts_only_those() -> None:
    drawn = iter([0.1, 0.5, 0.29, 0.9, 0.0])
    faults = FaultList(random=lambda: next(drawn))
    faults.add(Fault("RunInstances", "X", zone="a", times=3, probability=0.3))
    assert faults.take("RunInstances", "b") is None  # draws nothing
    met = [faults.take("RunInstances", "a") is not None for _ in range(5)]
    assert met == [True, False, True, False, True]
    assert faults.active == {}


@pytest.mark.parametrize(
    ("zone", "kind", "meets"),
    [("a", "g6.xlarge", True), ("b", "g6.xlarge", False), ("a", "g5.xlarge", False)],
)
def test_zone_and_type_narrow_a_fault(zone: str, kind: str, meets: bool) -> None:
    fault = Fault("RunInstances", "X", zone="a", instance_type="g6.xlarge")
    assert fault.meets("RunInstances", zone, kind) is meets


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "api"),
        ({"api": "RunInstances"}, "code"),
        ({"api": 1, "code": "X"}, "string"),
        ({"api": "RunInstances", "code": "X", "times": 0}, "times"),
        ({"api": "DescribeInstances", "latency_s": -1}, "latency_s"),
        ({"api": "DescribeInstances", "code": "X", "probability": 0}, "probability"),
        ({"api": "DescribeInstances", "code": "X", "probability": 1.5}, "probability"),
        ({"api": "DescribeInstances", "code": "X", "probability": True}, "probability"),
        ({"api": "RunInstances", "latency_s": 1}, "latency_s does not go with"),
        ({"api": "RunInstances", "code": "X", "zones": "a"}, "unknown field zones"),
        ({"api": "DescribeInstances", "code": "X", "zone": "a"}, "zone"),
        ({"api": "DescribeInstances", "code": "X", "instance_id": "i-1"}, "instance_id"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        parse_fault(given)


def test_a_fault_of_every_call_leaves_the_starts_of_instances_alone() -> None:
    fault = Fault("*", "Throttling")
    assert [fault.meets(api, "", "") for api in ("DescribeTags", "RunInstances")] == [True, False]


def test_capacity_errors_are_worded_like_awss() -> None:
    said = message_of(Fault("RunInstances", "InsufficientInstanceCapacity"), "z-1a", "g6.xlarge")
    assert "sufficient g6.xlarge capacity in the Availability Zone you requested (z-1a)" in said


def test_a_call_that_no_fault_meets_arrives_with_its_body() -> None:
    app, slept = faulty(Fault("SetDesiredCapacity", "Throttling"))
    assert call(app, query("DescribeInstances")) == (
        "200 OK",
        b"Action=DescribeInstances&Version=x",
    )
    assert slept == []


def test_a_late_call_arrives_after_its_latency() -> None:
    app, slept = faulty(Fault("*", latency_s=2.5))
    assert call(app, query("DescribeInstances"))[0] == "200 OK"
    assert slept == [2.5]


@pytest.mark.parametrize(
    ("environ", "code", "status", "within"),
    [
        (query("SetDesiredCapacity"), "Throttling", "400 Bad Request", b"<ErrorResponse><Error>"),
        (
            query("DescribeInstances", "ec2"),
            "RequestLimitExceeded",
            "503 Service Unavailable",
            b"<Response><Errors><Error><Code>RequestLimitExceeded",
        ),
        (
            {"HTTP_X_AMZ_TARGET": "AmazonSSM.GetParameter"},
            "ThrottlingException",
            "400 Bad Request",
            b'"__type": "ThrottlingException"',
        ),
    ],
)
def test_an_error_comes_in_the_callers_protocol(
    environ: dict[str, Any], code: str, status: str, within: bytes
) -> None:
    app, _ = faulty(Fault("*", code))
    said, body = call(app, environ)
    assert said == status
    assert within in body


def test_routes_add_list_and_end_faults() -> None:
    emulator: Any = Locked()
    routes = FaultRoutes(emulator, FaultList())
    assert routes("POST", "", {"api": "RunInstances", "code": "X"}) == {"id": 1}
    assert [f["api"] for f in (routes("GET", "", {}) or {})["faults"]] == ["RunInstances"]
    with pytest.raises(LocalError, match="no fault 7"):
        routes("DELETE", "7", {})
    assert routes("DELETE", "1", {}) == {"faults": 0}
    assert routes("PUT", "", {}) is None
