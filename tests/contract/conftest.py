"""The same case against our emulator and against stock moto.

A test that takes `cloud` runs twice: on sglocal it must pass, on stock moto it must fail, which
shows that the extension is needed (and tells us when a new moto makes it superfluous).
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from sglocal.aws.emulator import Settings, Timing
from sglocal.serve import Daemon, listen
from sglocal.state import StateDir

sys.path.insert(0, str(Path(__file__).parent))  # this folder's helper modules

from paper_hosts import FakeDriver

REGION = "us-east-1"
ACCOUNTS = itertools.count(100000000000)
# How a case fails on stock moto: another answer, no answer, or an HTML page instead of one.
STOCK_FAILURES = (
    AssertionError,
    BotoCoreError,
    ClientError,
    ResponseParserError,
    KeyError,
    IndexError,
    pytest.fail.Exception,
)
FAST = Timing(reconcile_s=0.05, host_watch_s=0.05, health_s=0.05, balancer_s=0.1)


class Cloud:
    """An endpoint, and how to wait for it."""

    def __init__(self, endpoint: str, patience_s: float, daemon: Daemon | None) -> None:
        self.endpoint = endpoint
        self.daemon = daemon
        self._patience_s = patience_s
        self._clients: dict[str, Any] = {}

    @property
    def driver(self) -> Any:
        """The fake driver; on stock moto one that nothing drives."""
        return self.daemon.driver if self.daemon else FakeDriver()

    @property
    def images(self) -> Path:
        """The folder of cached images."""
        return self.daemon.settings.cache_dir / "images" if self.daemon else Path("/nonexistent")

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"max_attempts": 1}, read_timeout=20),
            )
        return self._clients[service]

    def until(self, check: Callable[[], Any]) -> Any:
        """The first true answer; an assertion fails when none comes in time."""
        deadline = time.monotonic() + self._patience_s
        while time.monotonic() < deadline:
            if answer := check():
                return answer
            time.sleep(0.02)
        raise AssertionError(f"not in {self._patience_s} s: {check()!r}")

    # -- what most cases need ---------------------------------------------------------------------

    def subnets(self) -> list[str]:
        """Two subnets in two zones of one VPC."""
        ec2 = self.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
        self.vpc = vpc
        return [
            ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.40.{number}.0/24", AvailabilityZone=f"{REGION}{zone}"
            )["Subnet"]["SubnetId"]
            for number, zone in enumerate("ab")
        ]

    def image(self) -> str:
        """An image that boots."""
        ec2 = self.client("ec2")
        found = ec2.describe_images(
            Owners=["self"], Filters=[{"Name": "name", "Values": ["sglocal-debian-12"]}]
        )["Images"]
        if found:
            return str(found[0]["ImageId"])
        return str(ec2.register_image(Name="sglocal-debian-12")["ImageId"])

    def template(self, name: str = "workers", **data: Any) -> dict[str, str]:
        """A launch template; returns what a group takes."""
        ec2 = self.client("ec2")
        given = {"ImageId": self.image(), "InstanceType": "g6e.xlarge", **data}
        made = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=given)
        return {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "1"}

    def group(self, name: str = "workers", **given: Any) -> Callable[[], dict[str, Any]]:
        """An Auto Scaling group; returns a function that describes it."""
        arguments: dict[str, Any] = {"MinSize": 0, "MaxSize": 9, "DesiredCapacity": 1, **given}
        if "LaunchTemplate" not in arguments and "MixedInstancesPolicy" not in arguments:
            arguments["LaunchTemplate"] = self.template(f"{name}-template")
        if "VPCZoneIdentifier" not in arguments:
            arguments["VPCZoneIdentifier"] = ",".join(self.subnets())
        scaling = self.client("autoscaling")
        scaling.create_auto_scaling_group(AutoScalingGroupName=name, **arguments)
        return lambda: scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])[
            "AutoScalingGroups"
        ][0]

    def states(self, describe: Callable[[], Mapping[str, Any]]) -> list[str]:
        """The lifecycle states of a group's instances, sorted."""
        return sorted(i["LifecycleState"] for i in describe()["Instances"])

    def settle(self, describe: Callable[[], Mapping[str, Any]], count: int) -> list[str]:
        """Wait until `count` instances serve and no other is there; their ids."""
        self.until(lambda: self.states(describe) == ["InService"] * count)
        return [i["InstanceId"] for i in describe()["Instances"]]

    def instance_state(self, instance_id: str) -> str:
        ec2 = self.client("ec2")
        found = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        return str(found[0]["Instances"][0]["State"]["Name"])


@pytest.fixture(scope="session")
def stock_endpoint() -> Iterator[str]:
    """A stock moto server in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
    environment.pop("MOTO_ACCOUNT_ID", None)
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(10)


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts an emulator in this process, with its own account so that nothing is shared."""
    running: list[Daemon] = []

    def make(name: str = "containers") -> Daemon:
        listener = listen(0)
        port = listener.getsockname()[1]
        account = str(next(ACCOUNTS))
        settings = Settings(
            account,
            REGION,
            tmp_path / "state",
            tmp_path / "cache",
            name,
            port,  # type: ignore[arg-type]
        )
        state = StateDir(settings.state_dir)
        state.create()
        daemon = Daemon(settings, FakeDriver(name), state, FAST)  # type: ignore[arg-type]
        daemon.start(listener)
        running.append(daemon)
        return daemon

    yield make
    for daemon in running:
        daemon.driver.hold_launch.set()  # type: ignore[attr-defined]
        daemon.stop()


@pytest.fixture
def sglocal(make_daemon: Callable[..., Daemon]) -> Cloud:
    """Our emulator with container hosts on paper."""
    daemon = make_daemon()
    return Cloud(f"http://127.0.0.1:{daemon.settings.port}", 10.0, daemon)


@pytest.fixture
def process_cloud(make_daemon: Callable[..., Daemon]) -> Cloud:
    """Our emulator with process hosts on paper."""
    daemon = make_daemon("processes")
    return Cloud(f"http://127.0.0.1:{daemon.settings.port}", 10.0, daemon)


@pytest.fixture(
    params=[
        "sglocal",
        pytest.param(
            "moto",
            marks=pytest.mark.xfail(
                strict=True,
                raises=STOCK_FAILURES,
                reason="stock moto lacks it",
            ),
        ),
    ]
)
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """Our emulator, then stock moto, which must fail the same case."""
    if request.param == "sglocal":
        yield request.getfixturevalue("sglocal")
        return
    endpoint = request.getfixturevalue("stock_endpoint")
    yield Cloud(endpoint, 0.5, None)
    reset(endpoint)


def reset(endpoint: str) -> None:
    """Empty a stock server."""
    request = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST", data=b"")
    with urllib.request.urlopen(request, timeout=20):
        pass
