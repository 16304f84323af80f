"""The state: locks of others and of our own dead, and resources it does not know."""

from __future__ import annotations

import getpass
import json
import os
import platform
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sglctl.aws import state_bucket
from sglctl.aws.adoption import import_id, is_ours
from sglctl.aws.session import Session, emulator_environ
from sglctl.aws.state_lock import is_own, read_lock
from sglctl.errors import StateLockedError
from sglctl.terraform.adapter import Backend, Terraform
from sglctl.terraform.diagnose import LockInfo

needs_terraform = pytest.mark.skipif(
    shutil.which("terraform") is None, reason="terraform is not installed"
)

MODULE = """
terraform {
  backend "s3" {
    use_lockfile = true
  }
}
resource "terraform_data" "a" {}
"""


@pytest.fixture
def session(endpoint: str) -> Session:
    environ = emulator_environ(os.environ, endpoint, "us-east-1")
    return Session("us-east-1", "123456789012", endpoint, environ)


@pytest.fixture
def backend(session: Session, request: pytest.FixtureRequest) -> Backend:
    found = state_bucket.backend_of(session, request.node.name[:10])
    state_bucket.ensure(session, found.bucket)
    return found


def lock(session: Session, backend: Backend, who: str) -> str:
    """A lock as Terraform writes it."""
    lock_id = "6e1b0c5e-0d0a-3b1e-9c6f-0a4b8d2f1c77"
    document = {
        "ID": lock_id, "Operation": "OperationTypeApply", "Info": "", "Who": who,
        "Version": "1.11.4", "Created": "2026-11-21T10:00:00.123456789Z",
        "Path": f"{backend.bucket}/{backend.key}",
    }  # fmt: skip
    session.client("s3").put_object(
        Bucket=backend.bucket, Key=f"{backend.key}.tflock", Body=json.dumps(document)
    )
    return lock_id


@pytest.mark.terraform
@needs_terraform
def test_a_locked_state_is_refused_until_it_is_unlocked(
    session: Session, backend: Backend, tmp_path: Path
) -> None:
    """Real Terraform, real S3 backend: who, since when, how; then the unlock works."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "main.tf").write_text(MODULE)
    terraform = Terraform(root, tmp_path / "state", env=session.environ)
    terraform.init(backend)
    lock_id = lock(session, backend, "ana@laptop")
    with pytest.raises(StateLockedError, match=r"locked by ana@laptop since 2026-11-21") as caught:
        terraform.plan(tmp_path / "plan")
    assert lock_id in (caught.value.hint or "")
    terraform.force_unlock(lock_id)
    assert terraform.plan(tmp_path / "plan").changes
    terraform.apply(tmp_path / "plan")
    assert terraform.addresses() == {"terraform_data.a"}
    assert read_lock(session, backend) is None


def test_the_lock_is_read_as_terraform_wrote_it(session: Session, backend: Backend) -> None:
    assert read_lock(session, backend) is None
    lock_id = lock(session, backend, "ana@laptop")
    found = read_lock(session, backend)
    assert found is not None
    assert (found.lock_id, found.who) == (lock_id, "ana@laptop")


NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
ME = f"{getpass.getuser()}@{platform.node()}"


@pytest.mark.parametrize(
    ("who", "created", "since", "own"),
    [
        (ME, "2026-11-21T10:00:05.1Z", NOW, True),
        # Terraform cuts fractions that our clock has.
        (ME, "2026-11-21T10:00:00Z", NOW + timedelta(seconds=0.9), True),
        # An older run of the same user may still be alive.
        (ME, "2026-11-21T09:00:00Z", NOW, False),
        ("ana@laptop", "2026-11-21T10:00:05Z", NOW, False),
        (ME, "yesterday", NOW, False),
    ],
)
def test_only_a_lock_of_this_very_run_is_given_back(
    who: str, created: str, since: datetime, own: bool
) -> None:
    assert is_own(LockInfo("id", who, created, "apply"), since) is own


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("sgl-dev-chat-ondemand", True),
        ("/sglctl/dev/worker", True),
        ("sglctl/dev/api-keys", True),
        ("sglctl-models-dev-123456789012-us-east-1", True),
        ("sgl-prod-chat-ondemand", False),
        ("sgl-dev2-router", False),
        ("somebody-elses", False),
    ],
)
def test_a_name_is_ours_only_by_contract(name: str, ours: bool) -> None:
    assert is_ours("dev", name) is ours


def test_what_an_interrupted_run_made_is_found_by_its_name(session: Session) -> None:
    template = session.client("ec2").create_launch_template(
        LaunchTemplateName="sgl-adopt-router", LaunchTemplateData={"InstanceType": "c7i.large"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    secret = session.client("secretsmanager").create_secret(Name="sglctl/adopt/api-keys")["ARN"]
    session.client("logs").create_log_group(logGroupName="/sglctl/adopt/worker")
    session.client("ssm").put_parameter(Name="/sglctl/adopt/router", Value="{}", Type="String")
    role = {"RoleName": "sgl-adopt-router", "AssumeRolePolicyDocument": "{}"}
    session.client("iam").create_role(**role)
    session.client("s3").create_bucket(Bucket="sglctl-models-adopt-123456789012-us-east-1")
    expected = [
        ("aws_launch_template", {"name": "sgl-adopt-router"}, template),
        ("aws_secretsmanager_secret", {"name": "sglctl/adopt/api-keys"}, secret),
        ("aws_cloudwatch_log_group", {"name": "/sglctl/adopt/worker"}, "/sglctl/adopt/worker"),
        ("aws_ssm_parameter", {"name": "/sglctl/adopt/router"}, "/sglctl/adopt/router"),
        ("aws_iam_role", {"name": "sgl-adopt-router"}, "sgl-adopt-router"),
        ("aws_s3_bucket", {"bucket": "sglctl-models-adopt-123456789012-us-east-1"},
         "sglctl-models-adopt-123456789012-us-east-1"),
    ]  # fmt: skip
    for kind, values, identity in expected:
        assert import_id(session, "adopt", kind, values) == identity


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("aws_launch_template", {"name": "sgl-dev-other"}),
        ("aws_autoscaling_group", {"name": "sgl-dev-other"}),
        ("aws_lb", {"name": "sgl-dev-other"}),
        ("aws_lb_target_group", {"name": "sgl-dev-other"}),
        ("aws_cloudwatch_log_group", {"name": "/sglctl/dev/other"}),
        ("aws_iam_role", {"name": "sgl-dev-other"}),
        ("aws_iam_instance_profile", {"name": "sgl-dev-other"}),
        ("aws_secretsmanager_secret", {"name": "sglctl/dev/other"}),
        ("aws_ssm_parameter", {"name": "/sglctl/dev/other"}),
        ("aws_s3_bucket", {"bucket": "sglctl-models-dev-999"}),
        ("aws_vpc", {"name": "sgl-dev-vpc"}),
        ("aws_launch_template", {"name": None}),
    ],
)
def test_what_is_not_there_is_not_imported(
    session: Session, kind: str, values: dict[str, str | None]
) -> None:
    assert import_id(session, "dev", kind, values) is None
