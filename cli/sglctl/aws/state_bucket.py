"""The bucket that holds Terraform's state: there, versioned, encrypted, private."""

from __future__ import annotations

from typing import Any

from sglctl.aws.session import Session
from sglctl.errors import PreconditionError
from sglctl.terraform.adapter import Backend


def backend_of(session: Session, environment: str) -> Backend:
    """Names of docs/reference/interfaces.md."""
    return Backend(
        bucket=f"sglctl-state-{session.account}-{session.region}",
        key=f"environments/{environment}.tfstate",
        region=session.region,
        emulated=session.emulated,
    )


def exists(session: Session, bucket: str) -> bool:
    """Raises PreconditionError when the bucket is somebody else's."""
    from botocore.exceptions import ClientError

    try:
        session.client("s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=session.account)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            return False
        if status == 403:
            raise PreconditionError(
                f"the state bucket {bucket} exists but these credentials may not use it",
                hint="use a role that may, see terraform/bootstrap",
            ) from error
        raise
    return True


def ensure(session: Session, bucket: str) -> bool:
    """Make the bucket and set its protection; True when it was made now. Idempotent.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html: an overwritten state
    can be fetched again.
    """
    s3 = session.client("s3")
    made = not exists(session, bucket)
    if made:
        _create(s3, bucket, session.region)
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    if made:  # later the bootstrap module may have chosen a key of the account's own
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    return made


def _create(s3: Any, bucket: str, region: str) -> None:
    options: dict[str, Any] = {}
    if region != "us-east-1":  # S3 refuses its own default region as a constraint
        options["CreateBucketConfiguration"] = {"LocationConstraint": region}
    s3.create_bucket(Bucket=bucket, **options)
