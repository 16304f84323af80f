"""Terraform's diagnostics as one error: the failing resource, the reason, the likely fix. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sglctl.errors import StateLockedError, TerraformError
from sglctl.terraform.events import Diagnostic

#: (pattern in summary and detail, likely fix); the first that matches is shown.
_FIXES: tuple[tuple[str, str], ...] = (
    (r"ExpiredToken|token.*expired|SSO.*expired", "renew your credentials (aws sso login)"),
    (
        r"No valid credential sources|InvalidClientTokenId|AuthFailure|SignatureDoesNotMatch",
        "give AWS credentials: AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    (r"AccessDenied|UnauthorizedOperation|not authorized to perform",
     "the credentials lack the named permission; use a role that has it"),
    (r"VcpuLimitExceeded|InsufficientInstanceCapacity|MaxSpotInstanceCountExceeded",
     "ask for a higher quota, or add another instance type to the fleet's instance_types"),
    (r"LimitExceeded|limit.*(exceeded|reached)", "ask AWS for a higher limit of that resource"),
    (r"empty result|no matching .*certificate|no .*certificate",
     "issue the certificate in ACM, or name it with router.tls.certificate_arn"),
    (r"InvalidAMIID|no matching .*image|query returned no results",
     "build the images first: sglctl image build"),
    (r"AlreadyExists|already exists|BucketAlreadyOwnedByYou|Duplicate",
     "it was made outside this state: import it (terraform import ADDRESS ID) or remove it"),
    (r"DependencyViolation|is still in use|in use by",
     "something outside Terraform still uses it; remove that and run again"),
    (r"Saved plan is stale", "the state changed since the plan was made: run sglctl plan again"),
    (r"no such host|connection refused|dial tcp|context deadline exceeded|connection reset",
     "the API cannot be reached: check the network; for the local environment run "
     "sglctl local status"),
    (r"Failed to (query|install) .*provider|provider registry|could not connect to .*registry",
     "providers cannot be downloaded: name a mirror with SGLCTL_TERRAFORM_MIRROR"),
    (r"no space left on device", "free disk space and run again"),
    (r"Backend (initialization required|configuration changed)|NoSuchBucket",
     "the state bucket is missing or another: run sglctl deploy, which makes it"),
    (r"Request(Limit)?Exceeded|Throttling", "AWS throttles this account: run again"),
    (r"variable|Invalid value", "check config/ with: sglctl validate"),
)  # fmt: skip


@dataclass(frozen=True)
class LockInfo:
    """Who holds the state lock, as Terraform writes it."""

    lock_id: str
    who: str
    created: str
    operation: str
    path: str = ""


def to_error(action: str, diagnostics: Sequence[Diagnostic], tail: str = "") -> TerraformError:
    """The error of a failed run.

    `tail` is what Terraform printed outside diagnostics, used where there are none.
    """
    errors = [item for item in diagnostics if item.severity == "error"]
    if not errors:
        reason = tail.strip() or "it printed no reason"
        return TerraformError(f"terraform {action} failed: {reason}", hint=likely_fix(reason))
    for item in errors:
        if lock := parse_lock(f"{item.summary}\n{item.detail}"):
            return locked(lock)
    lines = [describe(item) for item in _unique(errors)]
    text = "\n".join(f"{item.summary}\n{item.detail}" for item in errors)
    head = f"terraform {action} failed: "
    if len(lines) > 1:
        head += f"{len(lines)} errors"
        return TerraformError("\n  ".join([head, *lines]), hint=likely_fix(text))
    return TerraformError(head + lines[0], hint=likely_fix(text))


def describe(item: Diagnostic) -> str:
    """`address: summary: first lines of the detail (place)`."""
    detail = " ".join(item.detail.split())
    if len(detail) > 600:
        detail = detail[:600] + " …"
    # A provider's summary often repeats its whole message, and Terraform's detail repeats it again.
    said = item.summary if not detail or detail in item.summary else f"{item.summary}: {detail}"
    where = item.address or item.place
    return f"{where}: {' '.join(said.split())}" if where else " ".join(said.split())


def likely_fix(text: str) -> str | None:
    """The first known fix whose pattern occurs."""
    for pattern, fix in _FIXES:
        if re.search(pattern, text, re.IGNORECASE):
            return fix
    return None


def parse_lock(text: str) -> LockInfo | None:
    """The `Lock Info:` block of an error; None when it is about something else.

    The S3 backend's form: https://developer.hashicorp.com/terraform/language/backend/s3
    """
    if "state lock" not in text.lower() and "Lock Info" not in text:
        return None
    fields = dict(re.findall(r"^\s*(ID|Path|Operation|Who|Created):\s*(.*?)\s*$", text, re.M))
    if not fields.get("ID"):
        return None
    return LockInfo(
        lock_id=fields["ID"],
        who=fields.get("Who") or "somebody",
        created=fields.get("Created") or "an unknown time",
        operation=fields.get("Operation", "").removeprefix("OperationType"),
        path=fields.get("Path", ""),
    )


def locked(lock: LockInfo) -> StateLockedError:
    """Who, since when, and how to unlock."""
    doing = f" ({lock.operation.lower()})" if lock.operation else ""
    since = re.sub(r"\.\d+ \+0000 UTC$", " UTC", lock.created)
    # The key of the state object names the environment (docs/reference/interfaces.md, "Names").
    found = re.search(r"environments/([a-z0-9-]+)\.tfstate", lock.path)
    where = f" --env {found[1]}" if found else ""
    return StateLockedError(
        f"the state is locked by {lock.who} since {since}{doing}, lock {lock.lock_id}",
        hint="wait for that run to end; if it is dead: "
        f"sglctl apply{where} --force-unlock {lock.lock_id}",
    )


def _unique(errors: Sequence[Diagnostic]) -> list[Diagnostic]:
    return list(dict.fromkeys(errors))
