"""AWS calls of the router."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sglrouter import aws


def test_credentials_that_come_late_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """boto3 gives metadata one second; a router without credentials would find no worker."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file := tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens
    aws._make.cache_clear()

    def describe(ec2: Any) -> Any:
        return ec2.describe_instances()

    with pytest.raises(aws.AwsError, match="Unable to locate credentials"):
        aws.call("ec2", describe)
    file.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    with pytest.raises(aws.AwsError, match="Could not connect"):
        aws.call("ec2", describe)
    aws._make.cache_clear()
