"""Where Terraform takes providers from: a mirror on this machine if there is one, else a registry.

A filesystem mirror is a folder holding `HOST/NAMESPACE/TYPE/VERSION/OS_ARCH/` (unpacked) or
`HOST/NAMESPACE/TYPE/terraform-provider-TYPE_VERSION_OS_ARCH.zip` (packed):
https://developer.hashicorp.com/terraform/cli/config/config-file#filesystem_mirror
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sglctl.context import cache_home
from sglctl.errors import PreconditionError

#: Names a mirror; wins over every folder found.
VARIABLE = "SGLCTL_TERRAFORM_MIRROR"

_PROVIDER = ("hashicorp", "aws")
#: Terraform looks in these by itself (below the home folder first); we look one level deeper too.
_IMPLIED = (
    "~/.terraform.d/plugins",
    "~/.local/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
)
_SEARCHED = ("/opt", "/usr/local/share", "/usr/share")


def find_mirror(
    environ: Mapping[str, str] | None = None,
    implied: Sequence[str] = _IMPLIED,
    searched: Sequence[str] = _SEARCHED,
) -> Path | None:
    """The folder of a mirror that has the AWS provider for this machine, or None.

    Raises PreconditionError when the variable names a folder that is no mirror.
    """
    variables = os.environ if environ is None else environ
    if named := variables.get(VARIABLE):
        folder = Path(named).expanduser()
        if not packages(folder):
            raise PreconditionError(
                f"{VARIABLE} names {folder}, which holds no {'/'.join(_PROVIDER)} provider "
                f"for {machine()}",
                hint="make one with: terraform -chdir=terraform/environment "
                f"providers mirror {folder}",
            )
        return folder
    candidates = (*(Path(name).expanduser() for name in implied), *_below(searched))
    return next((folder for folder in candidates if packages(folder)), None)


def _below(searched: Sequence[str]) -> Iterator[Path]:
    """Folders one or two levels below that look like a mirror; unreadable ones are passed by."""
    for base in searched:
        for depth in ("*", "*/*"):
            pattern = f"{depth}/*.*/{'/'.join(_PROVIDER)}"
            yield from (found.parents[2] for found in sorted(Path(base).glob(pattern)))


def packages(folder: Path) -> list[str]:
    """`HOST/NAMESPACE/TYPE` of the providers a mirror has for this machine.

    Empty unless the AWS provider is among them.
    """
    found = []
    for provider in folder.glob("*.*/*/*"):
        unpacked = any(provider.glob(f"*/{machine()}/terraform-provider-*"))
        packed = any(provider.glob(f"terraform-provider-*_{machine()}.zip"))
        if unpacked or packed:
            found.append("/".join(provider.parts[-3:]))
    wanted = "/".join(("", *_PROVIDER))
    return sorted(found) if any(name.endswith(wanted) for name in found) else []


def machine() -> str:
    """Terraform's name of this platform: `linux_amd64`."""
    names = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    architecture = platform.machine().lower()
    return f"{platform.system().lower()}_{names.get(architecture, architecture)}"


def write_cli_config(state_dir: Path, environ: Mapping[str, str] | None = None) -> Path:
    """Write the CLI configuration that `TF_CLI_CONFIG_FILE` shall name; returns its path.

    A configuration of the user's own that exists is left in force (its path is returned).
    """
    variables = os.environ if environ is None else environ
    own = Path(variables.get("TF_CLI_CONFIG_FILE") or "~/.terraformrc").expanduser()
    if own.is_file():
        return own
    mirror = find_mirror(variables)
    text = _mirrored(mirror) if mirror is not None else _direct(cache_home() / "providers")
    state_dir.mkdir(parents=True, exist_ok=True)
    file = state_dir / "terraform.tfrc"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    return file


def _mirrored(mirror: Path) -> str:
    """Terraform merges the versions of every source, so what the mirror has is asked only there."""
    names = json.dumps(packages(mirror))
    return (
        "disable_checkpoint = true\n"
        "provider_installation {\n"
        "  filesystem_mirror {\n"
        f"    path    = {json.dumps(str(mirror))}\n"
        f"    include = {names}\n"
        "  }\n"
        "  direct {\n"
        f"    exclude = {names}\n"
        "  }\n"
        "}\n"
    )


def _direct(cache: Path) -> str:
    """From the registry, downloaded once for all environments."""
    cache.mkdir(parents=True, exist_ok=True)
    return f"disable_checkpoint = true\nplugin_cache_dir   = {json.dumps(str(cache))}\n"
