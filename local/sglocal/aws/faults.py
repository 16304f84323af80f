"""Faults on demand: no capacity, throttling, other errors and latency, per call.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
RunInstances and StartInstances fail where instances are started, so groups meet them too; other
calls fail before they reach moto.
"""

from __future__ import annotations

import io
import json
import time
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any
from xml.sax.saxutils import escape

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import InstanceBackend

from sglocal.aws.emulator import Emulator
from sglocal.aws.fault_list import LAUNCHING, Fault, FaultList

MESSAGES = {
    "InsufficientInstanceCapacity": (
        "We currently do not have sufficient {instance_type} capacity in the Availability Zone "
        "you requested ({zone}). Our system will be working on provisioning additional capacity."
    ),
    "RequestLimitExceeded": "Request limit exceeded.",
    "Throttling": "Rate exceeded",
    "ThrottlingException": "Rate exceeded",
}
# https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
UNAVAILABLE = ("RequestLimitExceeded", "InternalError", "ServiceUnavailable", "Unavailable")

Start = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], Start], Iterable[bytes]]


def install(emulator: Emulator) -> FaultList:
    """Let faults meet the starts of instances; `FaultyApp` lets them meet every other call."""
    faults = FaultList()
    emulator.patches.wrap(InstanceBackend, "run_instances", _run(faults))
    emulator.patches.wrap(InstanceBackend, "start_instances", _start(faults))
    return faults


def _run(faults: FaultList) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        def run_instances(backend: Any, image_id: str, *args: Any, **kwargs: Any) -> Any:
            template = kwargs.get("launch_template")
            kind = kwargs.get("instance_type")
            if not kind and template:
                kind = backend._get_template_from_args(template).data.get("InstanceType")
            zone = kwargs.get("placement")
            if not zone and kwargs.get("subnet_id"):
                zone = backend.get_subnet(kwargs["subnet_id"]).availability_zone
            _spoil(faults.take("RunInstances", str(zone or ""), str(kind or "")), zone, kind)
            return original(backend, image_id, *args, **kwargs)

        return run_instances

    return make


def _start(faults: FaultList) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        def start_instances(backend: Any, instance_ids: list[str]) -> Any:
            for instance in backend.get_multi_instances_by_id(instance_ids):
                zone, kind = str(instance.placement.zone), str(instance.instance_type)
                _spoil(faults.take("StartInstances", zone, kind), zone, kind)
            return original(backend, instance_ids)

        return start_instances

    return make


def _spoil(fault: Fault | None, zone: Any, kind: Any) -> None:
    if fault is not None and fault.code:
        raise EC2ClientError(fault.code, message_of(fault, str(zone), str(kind)))


def message_of(fault: Fault, zone: str = "", instance_type: str = "") -> str:
    """The fault's own message, else AWS's for the code."""
    said = fault.message or MESSAGES.get(fault.code, "Injected by POST /_sglocal/faults.")
    return said.replace("{zone}", zone).replace("{instance_type}", instance_type)


class FaultyApp:
    """The AWS endpoint, with calls that fail or are late."""

    def __init__(
        self,
        app: Wsgi,
        emulator: Emulator,
        faults: FaultList,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._app, self._emulator, self._faults, self._sleep = app, emulator, faults, sleep

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """WSGI. The lock is not held while a call is late."""
        if not self._faults.active:
            return self._app(environ, start)
        api = operation(environ)
        with self._emulator.lock:
            fault = None if api in LAUNCHING else self._faults.take(api)
        if fault is None:
            return self._app(environ, start)
        self._sleep(fault.latency_s)
        if not fault.code:
            return self._app(environ, start)
        return _refuse(environ, start, fault)


def operation(environ: dict[str, Any]) -> str:
    """The operation's name: X-Amz-Target for JSON, the form's Action for the query protocol."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    if "form" not in environ.get("CONTENT_TYPE", ""):
        return ""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    form = urllib.parse.parse_qs(body.decode(errors="replace"))
    return str(form.get("Action", [""])[0])


def _refuse(environ: dict[str, Any], start: Start, fault: Fault) -> Iterable[bytes]:
    status = "503 Service Unavailable" if fault.code in UNAVAILABLE else "400 Bad Request"
    message = message_of(fault)
    if environ.get("HTTP_X_AMZ_TARGET"):
        body = json.dumps({"__type": fault.code, "message": message}).encode()
        kind = "application/x-amz-json-1.1"
    else:
        fields = f"<Code>{escape(fault.code)}</Code><Message>{escape(message)}</Message>"
        error = f"<Error>{fields}</Error>"
        # EC2 nests its errors, the other query services do not; parsers take the first they find.
        ec2 = "/ec2/" in environ.get("HTTP_AUTHORIZATION", "")
        text = (
            f"<Response><Errors>{error}</Errors><RequestID>sglocal</RequestID></Response>"
            if ec2
            else f"<ErrorResponse>{error}<RequestId>sglocal</RequestId></ErrorResponse>"
        )
        body, kind = text.encode(), "text/xml"
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
