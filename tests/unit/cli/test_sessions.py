"""Where an environment's API is: emulator or AWS, credentials, account guard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sglctl import local
from sglctl.aws import api_keys, fleet_state, session, state_bucket
from sglctl.aws.image_ids import newest
from sglctl.config.environment import Environment
from sglctl.context import Context
from sglctl.errors import LocalError, PreconditionError
from sglctl.local import Emulator, choose_hosts


def environment(**given: Any) -> Environment:
    fleet = {
        "model": "tiny",
        "instance_types": ["m7i.large"],
        "capacity": {"min": 1, "max": 2, "desired": 1},
    }
    return Environment.model_validate(
        {"region": "us-east-1", "release": "2026.11.1", "fleets": {"chat": fleet}, **given}
    )


@pytest.fixture
def emulator(endpoint: str) -> Emulator:
    return Emulator(endpoint, 1, "processes", "123456789012", "us-east-1")


def test_a_running_emulator_is_used_whatever_the_variables_say(emulator: Emulator) -> None:
    """Credentials of a real account in the environment never reach the emulator, nor it them."""
    found = session.connect(
        "prod", environment(), emulator,
        {"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "x", "HOME": "/nowhere"},
    )  # fmt: skip
    assert found.emulated
    assert found.account == "123456789012"
    assert found.environ["AWS_ENDPOINT_URL"] == emulator.endpoint
    assert found.environ["HOME"] == "/nowhere"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & set(found.environ)


def test_an_endpoint_on_loopback_is_an_emulator(endpoint: str) -> None:
    found = session.connect("dev", environment(), None, {"AWS_ENDPOINT_URL": endpoint})
    assert found.emulated


def test_the_account_guard_refuses_another_account(emulator: Emulator) -> None:
    with pytest.raises(
        PreconditionError, match="account guard: prod belongs to account 111122223333"
    ):
        session.connect("prod", environment(account="111122223333"), emulator, {})


def test_a_local_environment_needs_its_emulator() -> None:
    with pytest.raises(PreconditionError, match="not running on this machine") as caught:
        session.connect("local", environment(target="local"), None, {})
    assert "sglctl local up" in (caught.value.hint or "")


def test_missing_credentials_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(PreconditionError, match="no usable AWS credentials") as caught:
        session.connect("prod", environment(), None, {})
    assert "AWS_PROFILE" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:5566", True),
        ("http://localhost:4566", True),
        ("http://[::1]:5566", True),
        ("https://vpce-1.s3.us-east-1.vpce.amazonaws.com", False),
        ("http://127.evil.example", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(url: str, expected: bool) -> None:
    assert session.is_emulator_url(url) is expected


def test_the_state_bucket_is_made_once_and_protected(emulator: Emulator) -> None:
    # A region of its own: moto's state is the whole process's.
    found = session.connect("dev", environment(region="eu-west-3"), emulator, {})
    bucket = state_bucket.backend_of(found, "dev").bucket
    assert bucket == "sglctl-state-123456789012-eu-west-3"
    assert not state_bucket.exists(found, bucket)
    assert state_bucket.ensure(found, bucket) is True
    assert state_bucket.ensure(found, bucket) is False
    s3 = found.client("s3")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    blocked = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert all(blocked.values())
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_a_secret_gets_its_first_key_once(emulator: Emulator) -> None:
    found = session.connect("dev", environment(), emulator, {})
    client = found.client("secretsmanager")
    with pytest.raises(PreconditionError, match="does not exist"):
        api_keys.ensure_value(found, "dev")
    client.create_secret(Name="sglctl/dev/api-keys")
    assert api_keys.ensure_value(found, "dev") is True
    first = client.get_secret_value(SecretId="sglctl/dev/api-keys")["SecretString"]
    assert api_keys.ensure_value(found, "dev") is False
    assert client.get_secret_value(SecretId="sglctl/dev/api-keys")["SecretString"] == first
    assert len(json.loads(first)["default"]) >= 32


def test_the_admin_port_gets_its_key_once(emulator: Emulator) -> None:
    found = session.connect("dev", environment(), emulator, {})
    client = found.client("secretsmanager")
    with pytest.raises(PreconditionError, match="sglctl/dev/admin-key does not exist"):
        api_keys.ensure_admin_key(found, "dev")
    client.create_secret(Name="sglctl/dev/admin-key")
    assert api_keys.ensure_admin_key(found, "dev") is True
    first = client.get_secret_value(SecretId="sglctl/dev/admin-key")["SecretString"]
    assert api_keys.ensure_admin_key(found, "dev") is False
    assert client.get_secret_value(SecretId="sglctl/dev/admin-key")["SecretString"] == first
    assert len(first) >= 32


def test_external_apis_whose_key_nobody_has_put_are_named(emulator: Emulator) -> None:
    found = session.connect("dev", environment(), emulator, {})
    client = found.client("secretsmanager")
    client.create_secret(Name="sglctl/dev/external/empty")
    client.create_secret(Name="sglctl/dev/external/full", SecretString="key-0123456789")
    names = ["empty", "full", "none"]
    assert api_keys.externals_without_key(found, "dev", names) == [
        "sglctl/dev/external/empty",
        "sglctl/dev/external/none",
    ]


def image(name: str, image_id: str, created: str, state: str = "available") -> dict[str, Any]:
    return {
        "ImageId": image_id, "CreationDate": created, "State": state,
        "Tags": [{"Key": "sglctl:image", "Value": name}],
    }  # fmt: skip


def test_the_newest_available_image_counts() -> None:
    images = [
        image("router", "ami-2", "2026-11-02T00:00:00Z"),
        image("router", "ami-1", "2026-11-01T00:00:00Z"),
        image("router", "ami-3", "2026-11-03T00:00:00Z", state="pending"),
        image("worker-tiny", "ami-4", "2026-11-01T00:00:00Z"),
    ]
    assert newest(images) == {"router": "ami-2", "worker-tiny": "ami-4"}


def context(root: Path) -> Context:
    return Context(root, "local", "text", yes=False, dry_run=False, verbose=False)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SGLCTL_STATE_DIR", str(tmp_path))
    folder = tmp_path / "local" / "local"
    folder.mkdir(parents=True)
    return folder


def test_no_emulator_is_no_error(state: Path, tmp_path: Path) -> None:
    assert local.running(context(tmp_path)) is None


def test_a_dead_emulator_is_an_error(state: Path, tmp_path: Path) -> None:
    """Falling back to AWS would act on the wrong account."""
    document = {"endpoint": "http://127.0.0.1:1", "pid": 1, "hosts": "processes",
                "account": "1", "region": "us-east-1"}  # fmt: skip
    (state / "endpoint.json").write_text(json.dumps(document))
    with pytest.raises(LocalError, match="does not answer") as caught:
        local.running(context(tmp_path))
    assert "local up" in (caught.value.hint or "")


def test_a_damaged_endpoint_file_is_an_error(state: Path, tmp_path: Path) -> None:
    (state / "endpoint.json").write_text("{")
    with pytest.raises(LocalError, match="damaged"):
        local.running(context(tmp_path))


@pytest.mark.parametrize(
    ("wanted", "root", "missing", "target", "kind", "reason"),
    [
        ("auto", True, [], "local", "containers", "root on Linux"),
        ("auto", False, [], "local", "processes", "containers need root"),
        ("auto", True, ["debootstrap"], "local", "processes", "missing: debootstrap"),
        ("auto", True, [], "aws", "processes", "stub engine"),
        ("processes", True, [], "local", "processes", "asked for"),
        ("containers", True, [], "aws", "containers", "asked for"),
    ],
)
def test_hosts_are_chosen_with_a_reason(
    wanted: str, root: bool, missing: list[str], target: str, kind: str, reason: str
) -> None:
    choice = choose_hosts(wanted, root=root, linux=True, missing=missing, target=target)
    assert choice.kind == kind
    assert reason in choice.sentence()
    assert ("not exercised" in choice.sentence()) == (kind == "processes")


def test_containers_that_cannot_be_are_refused() -> None:
    with pytest.raises(PreconditionError, match="containers need root"):
        choose_hosts("containers", root=False, linux=True, missing=[], target="local")


def test_groups_behind_their_template_are_named(emulator: Emulator) -> None:
    """Terraform made version 2 and left the group at version 1."""
    found = session.connect("dev", environment(region="eu-west-2"), emulator, {})
    ec2, autoscaling = found.client("ec2"), found.client("autoscaling")
    for name in ("sgl-dev-router", "sgl-dev-chat-ondemand"):
        ec2.create_launch_template(
            LaunchTemplateName=name, LaunchTemplateData={"InstanceType": "t3.large"}
        )
        autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name, MinSize=0, MaxSize=1, AvailabilityZones=["eu-west-2a"],
            LaunchTemplate={"LaunchTemplateName": name, "Version": "1"},
            Tags=[{"Key": "sglctl:environment", "Value": "dev", "PropagateAtLaunch": True}],
        )  # fmt: skip
    groups = fleet_state.groups(found, "dev")
    assert fleet_state.outdated(found, groups) == []
    ec2.create_launch_template_version(
        LaunchTemplateName="sgl-dev-router", LaunchTemplateData={"InstanceType": "t3.small"}
    )
    assert fleet_state.outdated(found, groups) == ["sgl-dev-router"]
    assert fleet_state.outdated(found, []) == []
