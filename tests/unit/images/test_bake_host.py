"""The bake host: launched, waited for with a deadline, and always removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sglctl.errors import ImageError, WaitTimeoutError
from sglctl.images.bake_host import BAKE_TAG, bake_host, stop
from sglctl.images.registry import Clock, wait_available


class FakeClock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0

    def clock(self) -> Clock:
        return Clock(now=lambda: self.time, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.time += seconds


class FakeEc2:
    """Instances that go through the states they are given, one per question."""

    def __init__(self, states: list[str], left: tuple[str, ...] = ()) -> None:
        self.states = states
        self.left = left
        self.keys: set[str] = set()
        self.terminated: list[str] = []
        self.launched: dict[str, Any] = {}

    def describe_instances(self, **query: Any) -> dict[str, Any]:
        if "Filters" in query:
            found = [{"InstanceId": i, "State": {"Name": "running"}} for i in self.left]
        else:
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            found = [
                {
                    "InstanceId": query["InstanceIds"][0],
                    "State": {"Name": state},
                    "PrivateIpAddress": "10.0.0.5",
                    "StateReason": {"Message": "host did not start"},
                }
            ]
        return {"Reservations": [{"Instances": found}]}

    def describe_subnets(self, **_: Any) -> dict[str, Any]:
        return {"Subnets": [{"SubnetId": "subnet-1"}]}

    def import_key_pair(self, **query: Any) -> None:
        assert query["PublicKeyMaterial"].startswith(b"ssh-ed25519 ")
        self.keys.add(query["KeyName"])

    def delete_key_pair(self, **query: Any) -> None:
        self.keys.discard(query["KeyName"])

    def run_instances(self, **query: Any) -> dict[str, Any]:
        self.launched = query
        return {"Instances": [{"InstanceId": "i-1"}]}

    def terminate_instances(self, **query: Any) -> None:
        self.terminated += query["InstanceIds"]

    def stop_instances(self, **query: Any) -> None:
        assert query["InstanceIds"] == ["i-1"]


def test_a_bake_host_is_terminated_and_its_key_deleted_after_the_bake(tmp_path: Path) -> None:
    """Nothing of a bake remains but its image."""
    ec2 = FakeEc2(["pending", "running"])
    with bake_host(ec2, "ami-1", "router", tmp_path, FakeClock().clock()) as host:
        assert (host.instance_id, host.address) == ("i-1", "10.0.0.5")
        assert host.private_key.stat().st_mode & 0o077 == 0
        assert ec2.keys == {"sglctl-bake-router"}
    assert ec2.terminated == ["i-1"]
    assert ec2.keys == set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, ImageError])
def test_a_failed_or_interrupted_bake_leaves_no_host(
    tmp_path: Path, error: type[BaseException]
) -> None:
    """Ctrl-C too."""
    ec2 = FakeEc2(["running"])
    with (
        pytest.raises(error),
        bake_host(ec2, "ami-1", "router", tmp_path, FakeClock().clock()),
    ):
        raise error("x")
    assert ec2.terminated == ["i-1"]
    assert ec2.keys == set()


def test_a_host_that_never_runs_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    """And terminated."""
    ec2 = FakeEc2(["pending"])
    with (
        pytest.raises(WaitTimeoutError, match="pending"),
        bake_host(ec2, "ami-1", "router", tmp_path, FakeClock().clock()),
    ):
        pytest.fail("the host was used before it ran")
    assert ec2.terminated == ["i-1"]


def test_a_host_that_dies_at_boot_says_why(tmp_path: Path) -> None:
    """No waiting for a state that will never come."""
    ec2 = FakeEc2(["terminated"])
    clock = FakeClock()
    with (
        pytest.raises(ImageError, match="host did not start"),
        bake_host(ec2, "ami-1", "router", tmp_path, clock.clock()),
    ):
        pytest.fail("the host was used")
    assert clock.time == 0


def test_hosts_of_an_interrupted_bake_are_removed_first(tmp_path: Path) -> None:
    """kill -9 leaves a host behind; the next bake of the image takes it away."""
    ec2 = FakeEc2(["running"], left=("i-old",))
    with bake_host(ec2, "ami-1", "router", tmp_path, FakeClock().clock()):
        assert ec2.terminated == ["i-old"]


def test_a_bake_host_carries_no_role(tmp_path: Path) -> None:
    """With a role a registrar would find it, and a process emulator would start an agent on it."""
    ec2 = FakeEc2(["running"])
    with bake_host(ec2, "ami-1", "router", tmp_path, FakeClock().clock()):
        [specification] = ec2.launched["TagSpecifications"]
    keys = {tag["Key"] for tag in specification["Tags"]}
    assert keys == {"Name", BAKE_TAG}


def test_stopping_waits_until_the_disk_is_whole() -> None:
    """An image of a running disk could miss what was written last."""
    ec2 = FakeEc2(["running", "stopping", "stopped"])
    stop(ec2, "i-1", FakeClock().clock())
    assert ec2.states == ["stopped"]


class FakeImages:
    """One image that goes through states."""

    def __init__(self, states: list[str]) -> None:
        self.states = states

    def describe_images(self, **_: Any) -> dict[str, Any]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"Images": [{"State": state, "StateReason": {"Message": "disk full"}}]}


def test_an_image_is_ready_when_it_is_available() -> None:
    """Not when CreateImage returned."""
    images = FakeImages(["pending", "pending", "available"])
    wait_available(images, "ami-1", FakeClock().clock())
    assert images.states == ["available"]


@pytest.mark.parametrize(
    ("states", "error", "match"),
    [
        (["pending", "failed"], ImageError, "disk full"),
        (["pending"], WaitTimeoutError, "pending"),
    ],
)
def test_an_image_that_fails_or_hangs_is_an_error(
    states: list[str], error: type[Exception], match: str
) -> None:
    """With its reason, and within the deadline."""
    with pytest.raises(error, match=match):
        wait_available(FakeImages(states), "ami-1", FakeClock().clock())
