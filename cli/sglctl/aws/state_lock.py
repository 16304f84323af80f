"""The lock object beside the state: who holds it (`use_lockfile` of the S3 backend).

https://developer.hashicorp.com/terraform/language/backend/s3#s3-state-locking
"""

from __future__ import annotations

import getpass
import json
import platform
from datetime import UTC, datetime, timedelta

from sglctl.aws.session import Session
from sglctl.terraform.adapter import Backend
from sglctl.terraform.diagnose import LockInfo

#: Clocks of this machine and of Terraform are one; the lock's time is cut, not rounded.
_MARGIN = timedelta(seconds=2)


def read_lock(session: Session, backend: Backend) -> LockInfo | None:
    """The lock, None when nobody holds it."""
    from botocore.exceptions import ClientError

    try:
        answer = session.client("s3").get_object(Bucket=backend.bucket, Key=f"{backend.key}.tflock")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise
    raw = json.loads(answer["Body"].read())
    return LockInfo(raw["ID"], raw.get("Who", ""), raw.get("Created", ""), raw.get("Operation", ""))


def is_own(lock: LockInfo, since: datetime) -> bool:
    """Whether a run of this user on this machine took it at or after `since`."""
    if lock.who != f"{getpass.getuser()}@{platform.node()}":
        return False
    try:
        created = datetime.fromisoformat(lock.created[:19]).replace(tzinfo=UTC)
    except ValueError:
        return False
    return created >= since - _MARGIN
