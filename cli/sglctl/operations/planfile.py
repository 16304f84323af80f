"""A plan as one file: Terraform's plan, and what it rested on, so a stale one is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sglctl.errors import PreconditionError

_PLAN, _META = "terraform.tfplan", "plan.json"
_VERSION = 1


@dataclass(frozen=True)
class PlanMeta:
    """`digest`: of the configuration; `created_at`: ISO 8601, UTC."""

    environment: str
    account: str
    region: str
    digest: str
    created_at: str


def write(file: Path, plan: Path, meta: PlanMeta) -> None:
    """Put both in one archive; the file appears whole or not at all, readable only by its owner
    (a plan holds the values of variables and state)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.new")
    temporary.touch(mode=0o600)
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_META, json.dumps({"version": _VERSION, **asdict(meta)}, indent=2))
        archive.write(plan, _PLAN)
    temporary.replace(file)


def read(file: Path, folder: Path) -> tuple[Path, PlanMeta]:
    """Terraform's plan, extracted into `folder`, and what it rested on.

    Raises PreconditionError for anything that `write` did not make.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            raw: Mapping[str, object] = json.loads(archive.read(_META))
            folder.mkdir(parents=True, exist_ok=True)
            plan = folder / _PLAN
            plan.touch(mode=0o600)
            plan.write_bytes(archive.read(_PLAN))
        if raw.get("version") != _VERSION:
            raise KeyError("version")
        names = PlanMeta.__dataclass_fields__
        return plan, PlanMeta(**{name: str(raw[name]) for name in names})
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise PreconditionError(
            f"{file} is not a plan of this sglctl: {error}", hint="sglctl plan --out FILE"
        ) from error


def refuse_stale(
    meta: PlanMeta, *, environment: str, account: str, region: str, digest: str
) -> None:
    """Raises PreconditionError unless the plan rests on what is wanted now. Pure."""
    if meta.environment != environment:
        raise PreconditionError(
            f"the plan is for {meta.environment}, not {environment}",
            hint=f"sglctl apply --env {meta.environment} FILE",
        )
    if (meta.account, meta.region) != (account, region):
        raise PreconditionError(
            f"the plan is for account {meta.account} in {meta.region}, "
            f"these credentials are of {account} in {region}",
            hint="choose the right credentials with AWS_PROFILE",
        )
    if meta.digest != digest:
        raise PreconditionError(
            f"the plan of {meta.created_at} is stale: config/, terraform/ or an image changed",
            hint="make a new one: sglctl plan --out FILE",
        )
