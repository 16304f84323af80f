"""The bake host of the emulator: one container host, launched, baked, imaged, terminated."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sglctl.errors import ImageError, WaitTimeoutError
from sglctl.images.registry import Clock, tag_specification

RUNNING_DEADLINE_S = 120.0
STOPPED_DEADLINE_S = 120.0
POLL_S = 0.3
#: Marks hosts that only exist to be baked; what an interrupted bake left is found by it.
BAKE_TAG = "sglctl:bake"
_GONE = ("shutting-down", "terminated")


@dataclass(frozen=True)
class BakeHost:
    """A running bake host and the key that opens it."""

    instance_id: str
    address: str
    private_key: Path


@contextmanager
def bake_host(
    ec2: Any, base_image_id: str, image: str, folder: Path, clock: Clock | None = None
) -> Iterator[BakeHost]:
    """Launch a host of the base image; terminate it and delete its key whatever happens."""
    clock = clock or Clock()
    remove_leftovers(ec2, image)
    key_name = f"sglctl-bake-{image}"
    private_key = make_key(folder)
    ec2.delete_key_pair(KeyName=key_name)
    public = private_key.with_suffix(".pub").read_bytes()
    ec2.import_key_pair(KeyName=key_name, PublicKeyMaterial=public)
    try:
        [launched] = ec2.run_instances(
            ImageId=base_image_id,
            InstanceType="c7i.large",
            KeyName=key_name,
            SubnetId=default_subnet(ec2),
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[
                tag_specification("instance", {"Name": key_name, BAKE_TAG: image}),
            ],
        )["Instances"]
        instance_id = str(launched["InstanceId"])
        try:
            found = wait_state(ec2, instance_id, "running", RUNNING_DEADLINE_S, clock)
            yield BakeHost(instance_id, str(found["PrivateIpAddress"]), private_key)
        finally:
            ec2.terminate_instances(InstanceIds=[instance_id])
    finally:
        ec2.delete_key_pair(KeyName=key_name)


def default_subnet(ec2: Any) -> str:
    """A subnet of the account's default network. Raises ImageError."""
    answer = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])
    subnets = sorted(str(subnet["SubnetId"]) for subnet in answer["Subnets"])
    if not subnets:
        raise ImageError(
            "the emulated account has no default subnet to bake in",
            hint="`sglctl local down`, then `up`, makes it again",
        )
    return subnets[0]


def make_key(folder: Path, comment: str = "sglctl-bake") -> Path:
    """A new Ed25519 key pair in `folder`; returns the private key."""
    path = folder / "bake-key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except FileNotFoundError as error:
        raise ImageError(
            "ssh-keygen is not installed", hint="apt-get install openssh-client"
        ) from error
    except subprocess.CalledProcessError as error:
        raise ImageError(f"ssh-keygen failed: {error.stderr.decode().strip()}") from error
    return path


def remove_leftovers(ec2: Any, image: str) -> None:
    """Terminate hosts that an interrupted bake of the same image left."""
    answer = ec2.describe_instances(Filters=[{"Name": f"tag:{BAKE_TAG}", "Values": [image]}])
    left = [
        instance["InstanceId"]
        for reservation in answer["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] not in _GONE
    ]
    if left:
        ec2.terminate_instances(InstanceIds=left)


def stop(ec2: Any, instance_id: str, clock: Clock | None = None) -> None:
    """Stop the host, so that its disk is whole when the image is made."""
    ec2.stop_instances(InstanceIds=[instance_id])
    wait_state(ec2, instance_id, "stopped", STOPPED_DEADLINE_S, clock or Clock())


def wait_state(
    ec2: Any, instance_id: str, wanted: str, deadline_s: float, clock: Clock
) -> dict[str, Any]:
    """Wait for a state. Raises ImageError (it will never come), WaitTimeoutError."""
    deadline = clock.now() + deadline_s
    while True:
        answer = ec2.describe_instances(InstanceIds=[instance_id])
        instance: dict[str, Any] = answer["Reservations"][0]["Instances"][0]
        state = instance["State"]["Name"]
        if state == wanted:
            return instance
        if state in _GONE:
            reason = instance.get("StateReason", {}).get("Message", "no reason given")
            raise ImageError(
                f"bake host {instance_id} became {state}: {reason}",
                hint="`sglctl local logs` shows what the emulator said",
            )
        if clock.now() >= deadline:
            raise WaitTimeoutError(
                f"bake host {instance_id} is {state}, not {wanted}, after {deadline_s:.0f} s",
                hint="`sglctl local logs` shows what the emulator said",
            )
        clock.sleep(POLL_S)
