"""The emulator in this process: a virtual clock, hosts on paper, no sockets, no threads.

Requests go from boto3 straight into the emulator's WSGI application, so a run is deterministic and
an hour of history takes as long as its steps take to compute.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from group_request import group_request
from listening import silence
from moto.moto_api._internal import mock_random
from paper_hosts import FakeDriver
from werkzeug.test import Client

from sglocal.aws.emulator import Emulator, Settings, configure_moto
from sglocal.aws.fault_list import parse_fault
from sglocal.aws.jobs import SteppedJobs
from sglocal.clock import VirtualClock

REGION = "us-east-1"
ENDPOINT = "http://sglocal.invalid:5566"
SEED = 20261121


class VirtualWorld:
    """An emulator whose time moves only in `advance`."""

    emulated = True

    def __init__(self, folder: Path, account: str) -> None:
        configure_moto(account)
        from sglocal.aws import extensions
        from sglocal.aws.app import AwsApp

        mock_random.seed(SEED)
        settings = Settings(
            account, REGION, folder / account, folder / account / "cache", "containers", 5566
        )
        self.clock, self.jobs = VirtualClock(), SteppedJobs()
        self.driver: Any = FakeDriver()
        self.emulator = Emulator(settings, self.driver, clock=self.clock, jobs=self.jobs)
        self.extensions = extensions.install(self.emulator)
        self._app = Client(AwsApp(self.emulator))
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client whose requests never leave this process."""
        if service not in self._clients:
            made = boto3.client(
                service,
                endpoint_url=ENDPOINT,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"max_attempts": 0}),
            )
            made.meta.events.register("before-send", self._send)
            self._clients[service] = made
        return self._clients[service]

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        url = urllib.parse.urlsplit(request.url)
        headers = [
            (key, value.decode() if isinstance(value, bytes) else value)
            for key, value in request.headers.items()
        ]
        answer = self._app.open(
            path=url.path,
            query_string=url.query,
            base_url=f"{url.scheme}://{url.netloc}",
            method=request.method,
            headers=headers,
            data=request.body,
        )
        return AWSResponse(
            request.url, answer.status_code, dict(answer.headers), _Raw(answer.get_data())
        )

    def advance(self, seconds: float, tick_s: float = 1.0) -> None:
        """Let time pass: hosts do their work and every loop looks once each tick."""
        end = self.clock() + seconds
        while self.clock() < end:
            self.clock.advance(min(tick_s, end - self.clock()))
            self.jobs.run()
            self.emulator.step()

    def create_group(self, name: str, given: Mapping[str, Any]) -> None:
        """A VPC, a launch template and a group on it, by default in two zones."""
        ec2 = self.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.40.{16 * number}.0/20", AvailabilityZone=f"{REGION}{zone}"
            )["Subnet"]["SubnetId"]
            for number, zone in enumerate("abc"[: given.get("zones", 2)])
        ]
        image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
        made = ec2.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData={"ImageId": image, "InstanceType": "g6e.xlarge"},
        )
        template = made["LaunchTemplate"]["LaunchTemplateId"]
        request, pool = group_request(name, given, template, subnets)
        self.client("autoscaling").create_auto_scaling_group(**request)
        if pool is not None:
            self.client("autoscaling").put_warm_pool(AutoScalingGroupName=name, **pool)

    def new_template_version(self, name: str, *, used: bool) -> None:
        """Another version; `used`: for the group's next launches."""
        ec2 = self.client("ec2")
        versions = ec2.describe_launch_template_versions(LaunchTemplateName=name)
        data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)
        if not used:
            return
        self.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"},
        )

    def fault(self, given: Mapping[str, Any]) -> None:
        """A host that dies (`dies: <instance id>`), a Spot instance that is interrupted or at risk,
        or what POST /_sglocal/faults takes.
        """
        if "dies" in given:
            self.driver.states[given["dies"]] = "gone"
        elif "interrupted" in given:
            self.extensions.notices.interrupt(given["interrupted"])
        elif "at_risk" in given:
            self.extensions.notices.rebalance(given["at_risk"])
        else:
            self.extensions.faults.add(parse_fault(given))

    def remove_group(self, name: str) -> None:
        """Delete by force, end every fault, and wait for the last instance."""
        self.extensions.faults.clear()
        silence(self.client, name)
        if name in self.emulator.autoscaling.autoscaling_groups:
            self.client("autoscaling").delete_auto_scaling_group(
                AutoScalingGroupName=name, ForceDelete=True
            )
            self.advance(10)

    def metadata(self, instance_id: str, path: str) -> str | None:
        """What the instance metadata service answers at a path below /latest/."""
        from sglocal.metadata.facts import facts_of
        from sglocal.metadata.tree import lookup, tree

        facts = facts_of(
            self.emulator, self.extensions.notices, self.emulator.instance(instance_id)
        )
        found = lookup(tree(facts, self.clock.now()), path)
        return None if found is None else found.decode()

    def close(self) -> None:
        """Take the extensions out of moto again."""
        self.emulator.stop()


class _Raw:
    """The body as urllib3 would give it to botocore."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Any:
        yield self._body

    def read(self, *_: Any) -> bytes:
        body, self._body = self._body, b""
        return body
