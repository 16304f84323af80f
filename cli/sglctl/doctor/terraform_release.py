"""Terraform's pinned release: downloaded once, checked, kept in the cache.

SHA-256 from the release's own SHA256SUMS file.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import zipfile
from pathlib import Path

import httpx

from sglctl.errors import PreconditionError

VERSION = "1.11.4"
SHA256 = {
    "linux_amd64": "1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc",
    "linux_arm64": "a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633",
}
DEFAULT_BASE_URL = "https://releases.hashicorp.com"
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def release_platform() -> str:
    return f"{platform.system().lower()}_{_MACHINES.get(platform.machine().lower(), 'unknown')}"


def install(bin_dir: Path, *, base_url: str | None = None, timeout_s: float = 300) -> Path:
    """Put the pinned `terraform` into `bin_dir`; nothing is written unless its hash is right.

    `SGLCTL_TERRAFORM_URL` names another base URL (an internal mirror).
    Raises PreconditionError when it cannot be had or is not what was pinned.
    """
    name = release_platform()
    if name not in SHA256:
        raise PreconditionError(
            f"no pinned Terraform for {name}", hint=f"install Terraform {VERSION} yourself"
        )
    base = base_url or os.environ.get("SGLCTL_TERRAFORM_URL") or DEFAULT_BASE_URL
    url = f"{base}/terraform/{VERSION}/terraform_{VERSION}_{name}.zip"
    archive = _download(url, timeout_s)
    digest = hashlib.sha256(archive).hexdigest()
    if digest != SHA256[name]:
        raise PreconditionError(
            f"{url} is not the pinned release: SHA-256 {digest}, expected {SHA256[name]}",
            hint="do not use it; look at what stands between you and the release server",
        )
    return _unpack(archive, bin_dir)


def _download(url: str, timeout_s: float) -> bytes:
    try:
        response = httpx.get(url, timeout=timeout_s, follow_redirects=True)
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise PreconditionError(
            f"Terraform could not be downloaded from {url}: {error}",
            hint=f"install Terraform {VERSION} by hand, or name a mirror in SGLCTL_TERRAFORM_URL",
        ) from error
    return response.content


def _unpack(archive: bytes, bin_dir: Path) -> Path:
    bin_dir.mkdir(parents=True, exist_ok=True)
    target = bin_dir / "terraform"
    part = bin_dir / f".terraform.{os.getpid()}"
    with zipfile.ZipFile(io.BytesIO(archive)) as bundle:
        part.write_bytes(bundle.read("terraform"))
    part.chmod(0o755)
    part.replace(target)
    return target
