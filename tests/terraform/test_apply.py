"""Real applies with the AWS provider against the emulator: converge, change, destroy."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ACCOUNT = "111122223333"
REGION = "us-east-1"
DOMAIN = "llm.example.com"

pytestmark = [pytest.mark.terraform, pytest.mark.timeout(600)]

Client = Callable[[str], Any]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An emulator of this module's own."""
    folder = tmp_path_factory.mktemp("emulator")
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("emulator.py")), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, (folder / "log").read_text()
        yield url
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
        process.stdout.close()


@pytest.fixture(scope="module")
def client(endpoint: str) -> Client:
    """boto3 clients of the emulator."""
    session = boto3.session.Session("test", "test", region_name=REGION)
    return lambda service: session.client(service, endpoint_url=endpoint)


@pytest.fixture(scope="module")
def images(client: Client) -> tuple[str, str]:
    """Ids of a router's and a worker's image."""
    disks = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}]
    ids = [
        client("ec2").register_image(
            Name=name, RootDeviceName="/dev/xvda", VirtualizationType="hvm",
            Architecture="x86_64", BlockDeviceMappings=disks,
        )["ImageId"]
        for name in ("router", "worker-tiny")
    ]  # fmt: skip
    return ids[0], ids[1]


@pytest.fixture(scope="module")
def certificate(client: Client) -> str:
    """ARN of an imported certificate for the domain."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    signed = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - day).not_valid_after(now + 30 * day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(DOMAIN)]), False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    answer = client("acm").import_certificate(
        Certificate=signed.public_bytes(pem), PrivateKey=private
    )
    return str(answer["CertificateArn"])


def variables_of(
    name: str, images: tuple[str, str], change: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """A case of `cases/`, with the emulator's images and the documents as strings."""
    path = Path(__file__).with_name("cases") / f"{name}.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    document["router"]["image_id"] = images[0]
    for fleet in document["fleets"].values():
        fleet["image_id"] = images[1]
    change(document)
    for part in (document["router"], *document["fleets"].values()):
        part["document"] = json.dumps(part["document"])
    return document


@pytest.fixture(scope="module")
def environment(
    terraform_copy: Callable[[str], Path], terraform_in: Callable[..., Any], endpoint: str,
    client: Client, tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, dict[str, Any]], Any]:  # fmt: skip
    """A function that makes the root module ready for an environment, its state in S3."""
    bucket = f"sglctl-state-{ACCOUNT}-{REGION}"
    client("s3").create_bucket(Bucket=bucket)

    def make(name: str, variables: dict[str, Any]) -> Any:
        file = tmp_path_factory.mktemp(name) / "variables.json"
        file.write_text(json.dumps(variables), encoding="utf-8")
        folder = terraform_copy(name) / "environment"
        terraform = terraform_in(folder, file, AWS_ENDPOINT_URL=endpoint, AWS_REGION=REGION)
        backend = {"bucket": bucket, "key": f"environments/{name}.tfstate", "region": REGION}
        flags = ("use_path_style", "skip_credentials_validation", "skip_requesting_account_id",
                 "skip_metadata_api_check", "skip_region_validation")  # fmt: skip
        options = backend | dict.fromkeys(flags, "true")
        terraform.run("init", *(f"-backend-config={k}={v}" for k, v in options.items()))
        return terraform

    return make


def versions(client: Client, group: str) -> set[str]:
    """Template versions that a group's policy names."""
    answer = client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    found = answer["AutoScalingGroups"][0]
    policy = found.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    template = found.get("LaunchTemplate") or policy["LaunchTemplateSpecification"]
    return {template["Version"]}


def test_local_converges_changes_and_goes(
    environment: Any, images: tuple[str, str], client: Client
) -> None:
    """An apply leaves nothing to do; capacity and timeouts reach AWS, a new release reaches no
    group; destroy leaves nothing behind."""
    terraform = environment("local", variables_of("local", images))
    terraform.run("apply", "-auto-approve")
    terraform.run("plan", "-detailed-exitcode")
    assert terraform.output()["groups"] == {
        "router": "sgl-local-router",
        "fleets": {"chat": {"on_demand": "sgl-local-chat-ondemand", "spot": None}},
    }
    assert terraform.output()["url"].startswith("http://")
    assert terraform.output()["url"].endswith(":8080")

    def change(document: dict[str, Any]) -> None:
        document["release"] = "2026.12.1"
        fleet = document["fleets"]["chat"]
        fleet["groups"]["on_demand"] = {"min": 2, "max": 5, "desired": 2}
        fleet["launch_timeout_s"] = 900

    terraform.variables.write_text(json.dumps(variables_of("local", images, change)))
    terraform.run("apply", "-auto-approve")
    terraform.run("plan", "-detailed-exitcode")
    autoscaling = client("autoscaling")
    name = "sgl-local-chat-ondemand"
    group = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    sizes = [group["AutoScalingGroups"][0][key] for key in ("MinSize", "MaxSize")]
    hooks = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=name)["LifecycleHooks"]
    assert sizes == [2, 5]
    assert {h["LifecycleHookName"]: h["HeartbeatTimeout"] for h in hooks} == {
        "launch": 900, "terminate": 120,
    }  # fmt: skip
    assert versions(client, name) == {"1"}
    assert versions(client, "sgl-local-router") == {"1"}
    templates = client("ec2").describe_launch_templates(LaunchTemplateNames=[name])
    assert templates["LaunchTemplates"][0]["LatestVersionNumber"] == 2

    autoscaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=4)
    terraform.run("plan", "-detailed-exitcode")

    terraform.run("destroy", "-auto-approve")
    assert autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert client("s3").list_buckets()["Buckets"][0]["Name"].startswith("sglctl-state-")
    assert len(client("s3").list_buckets()["Buckets"]) == 1


@pytest.mark.usefixtures("certificate")
def test_prod_converges_with_spot_warm_pool_and_tls(
    environment: Any, images: tuple[str, str], client: Client, certificate: str
) -> None:
    """Two fleets, NAT, a certificate found by its domain: an apply leaves nothing to do."""
    terraform = environment("prod", variables_of("prod", images))
    terraform.run("apply", "-auto-approve")
    terraform.run("plan", "-detailed-exitcode")
    assert terraform.output()["url"].startswith("https://")
    assert terraform.output()["model_bucket"] == f"sglctl-models-prod-{ACCOUNT}-{REGION}"
    balancer = client("elbv2").describe_load_balancers(Names=["sgl-prod-router"])
    arn = balancer["LoadBalancers"][0]["LoadBalancerArn"]
    listeners = client("elbv2").describe_listeners(LoadBalancerArn=arn)["Listeners"]
    assert [(each["Port"], each["Protocol"]) for each in listeners] == [(443, "HTTPS")]
    assert listeners[0]["Certificates"][0]["CertificateArn"] == certificate
    pool = client("autoscaling").describe_warm_pool(AutoScalingGroupName="sgl-prod-code-ondemand")
    assert pool["WarmPoolConfiguration"]["MinSize"] == 1
    terraform.run("destroy", "-auto-approve")


def test_credentials_of_another_account_are_refused(
    environment: Any, images: tuple[str, str]
) -> None:
    """The account guard stops before anything is read or made."""

    def change(document: dict[str, Any]) -> None:
        document["account_id"] = "999988887777"

    terraform = environment("guard", variables_of("prod", images, change))
    with pytest.raises(pytest.fail.Exception, match="AWS account ID not allowed"):
        terraform.run("plan")


def test_the_state_bucket_is_made_once_and_taken_over(
    terraform_copy: Callable[[str], Path], terraform_in: Callable[..., Any], endpoint: str,
    client: Client, tmp_path: Path,
) -> None:  # fmt: skip
    """Bootstrap converges, and after its local state is lost it converges again."""
    values = {"account_id": ACCOUNT, "region": REGION, "emulated": True, "bucket_exists": True}
    file = tmp_path / "variables.json"
    file.write_text(json.dumps(values))
    name = f"sglctl-state-{ACCOUNT}-{REGION}"
    existing = [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    if name not in existing:
        client("s3").create_bucket(Bucket=name)
    folder = terraform_copy("bootstrap") / "bootstrap"
    terraform = terraform_in(folder, file, AWS_ENDPOINT_URL=endpoint, AWS_REGION=REGION)
    terraform.run("init")
    terraform.run("apply", "-auto-approve")
    (folder / "terraform.tfstate").unlink()
    terraform.run("apply", "-auto-approve")
    terraform.run("plan", "-detailed-exitcode")
    assert client("s3").get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    access = client("s3").get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert all(access.values())
