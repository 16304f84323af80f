"""The instance's surroundings on loopback: metadata, AWS and engine as small aiohttp servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from sglocal.stub_engine.app import start as start_stub
from sglocal.stub_engine.context import Engine as StubEngine
from sglocal.stub_engine.options import Options

FLEET: dict[str, Any] = {
    "version": 1, "environment": "dev", "fleet": "chat", "role": "regular",
    "release": "2026.11.1", "model": "tiny", "served_model_name": "tiny", "context_length": 2048,
    "engine": "sglang", "engine_args": ["--max-running-requests", "4"],
    "warm_up": {"prompts": 2, "timeout_s": 10},
    "launch_timeout_s": 20, "drain_deadline_s": 20,
}  # fmt: skip


@dataclass
class Surroundings:
    """What the fakes tell, and what they were told."""

    address: str
    target: str | None = "InService"
    spot: str | None = None
    lifecycle: str | None = "Pending:Wait"
    launched: str = "2020-01-02T10:00:00Z"
    user_data: str = "environment: dev\nfleet: chat\nrelease: '2026.11.1'\n"
    parameter: str = json.dumps(FLEET)
    rebalance: str | None = None
    events: list[dict[str, str]] = field(default_factory=list)
    metadata_down: bool = False
    metadata_delay_s: float = 0.0
    throttles: int = 0  # so many calls of Auto Scaling are refused
    waiting_hooks: tuple[str, ...] = ("launch", "terminate")
    unhealthy: list[str] = field(default_factory=list)
    parameter_reads: int = 0
    completed: list[tuple[str, str, str]] = field(default_factory=list)
    heartbeats: list[str] = field(default_factory=list)

    async def metadata(self, request: web.Request) -> web.Response:
        if self.metadata_down:
            return web.Response(status=503)
        await asyncio.sleep(self.metadata_delay_s)
        path = request.match_info["path"]
        if path == "api/token" and request.method == "PUT":
            return web.Response(text="token-1")
        if request.headers.get("X-aws-ec2-metadata-token") != "token-1":
            return web.Response(status=401)
        answers = {
            "meta-data/instance-id": "i-0123456789abcdef0",
            "meta-data/local-ipv4": self.address,
            "meta-data/placement/region": "us-east-1",
            "meta-data/autoscaling/target-lifecycle-state": self.target,
            "meta-data/spot/instance-action": self.spot,
            "meta-data/events/recommendations/rebalance": self.rebalance,
            "meta-data/events/maintenance/scheduled": json.dumps(self.events),
            "user-data": self.user_data,
            "dynamic/instance-identity/document": json.dumps({"pendingTime": self.launched}),
        }
        text = answers.get(path)
        return web.Response(status=404) if text is None else web.Response(text=text)

    async def aws(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Amz-Target") == "AmazonSSM.GetParameter":
            return self._parameter(await request.json())
        form = {key: str(value) for key, value in (await request.post()).items()}
        action = form["Action"]
        if self.throttles:
            self.throttles -= 1
            return _error("Throttling", "Rate exceeded")
        if action == "SetInstanceHealth":
            self.unhealthy.append(form["HealthStatus"])
        if action == "DescribeAutoScalingInstances":
            return _xml(action, f"<AutoScalingInstances>{self._member()}</AutoScalingInstances>")
        if action == "RecordLifecycleActionHeartbeat":
            self.heartbeats.append(form["LifecycleHookName"])
        if action == "CompleteLifecycleAction":
            hook, result = form["LifecycleHookName"], form["LifecycleActionResult"]
            if hook not in self.waiting_hooks:
                return _error("ValidationError", "No active Lifecycle Action found")
            self.completed.append((form["AutoScalingGroupName"], hook, result))
            self.lifecycle = "InService" if hook == "launch" else "Terminating:Proceed"
        return _xml(action, "")

    def _parameter(self, body: dict[str, Any]) -> web.Response:
        self.parameter_reads += 1
        headers = {"Content-Type": "application/x-amz-json-1.1"}
        if body["Name"] != "/sglctl/dev/fleets/chat/worker" or not self.parameter:
            error = {"__type": "ParameterNotFound", "message": body["Name"]}
            return web.Response(status=400, text=json.dumps(error), headers=headers)
        answer = {"Parameter": {"Name": body["Name"], "Value": self.parameter}}
        return web.Response(text=json.dumps(answer), headers=headers)

    def _member(self) -> str:
        if self.lifecycle is None:
            return ""
        return (
            "<member><InstanceId>i-0123456789abcdef0</InstanceId>"
            "<AutoScalingGroupName>sgl-dev-chat-ondemand</AutoScalingGroupName>"
            f"<LifecycleState>{self.lifecycle}</LifecycleState></member>"
        )


def _xml(action: str, result: str) -> web.Response:
    body = (
        f'<{action}Response xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">'
        f"<{action}Result>{result}</{action}Result>"
        f"<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
    )
    return web.Response(text=body, content_type="text/xml")


def _error(code: str, message: str) -> web.Response:
    body = (
        '<ErrorResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><Error>'
        f"<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        "<RequestId>1</RequestId></ErrorResponse>"
    )
    return web.Response(status=400, text=body, content_type="text/xml")


async def _serve(handler: Any, path: str) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@asynccontextmanager
async def running(surroundings: Surroundings) -> AsyncIterator[dict[str, str]]:
    """Serve metadata and AWS; yields the environment that leads there."""
    metadata, metadata_url = await _serve(surroundings.metadata, "/latest/{path:.*}")
    aws, aws_url = await _serve(surroundings.aws, "/{path:.*}")
    try:
        yield {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata_url,
            "AWS_ENDPOINT_URL": aws_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
    finally:
        await metadata.cleanup()
        await aws.cleanup()


@asynccontextmanager
async def stub_engine(address: str, port: int, **more: Any) -> AsyncIterator[StubEngine]:
    """A stub engine in this process."""
    options = Options("/m", "tiny", host=address, port=port, context_length=2048, **more)
    runner, _ = await start_stub(options)
    try:
        yield runner.app[StubEngine.KEY]
    finally:
        await runner.cleanup()


def write_host_document(path: Path, address: str, model: Path) -> None:
    """`worker.yaml` of a host that has the stub engine."""
    path.write_text(json.dumps({
        "version": 1,
        "bind": address,
        "engine": {"kind": "stub", "command": ["python", "-m", "sglocal.stub_engine"]},
        "model": {"name": "tiny", "path": str(model)},
    }))  # fmt: skip


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is another server's state
            await asyncio.sleep(0.01)
