"""The hash of everything an image is baked from. Equal hash, equal image: it is used again."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from sglctl.config.render.images import ImageNeed

Role = Literal["worker", "router"]

#: Roles of each playbook, in its order; a test compares them with the playbooks.
ROLES: dict[Role, tuple[str, ...]] = {
    "worker": ("host_base", "sglang_worker", "telemetry", "image_manifest", "image_cleanup"),
    "router": ("host_base", "sglang_router", "telemetry", "image_manifest", "image_cleanup"),
}
#: Source folders of the packages each kind of host runs.
PACKAGES: dict[Role, tuple[str, ...]] = {"worker": ("worker",), "router": ("worker", "router")}
_IGNORED = frozenset({"__pycache__", "build", ".mypy_cache", ".ruff_cache"})


def role_of(need: ImageNeed) -> Role:
    """What hosts of this image are."""
    return "router" if need.model is None else "worker"


def input_hash(
    root: Path, need: ImageNeed, variables: Mapping[str, Any], base_image_id: str
) -> str:
    """SHA-256 over the base image, the playbook's variables and every file that reaches the host.

    `variables` are those that hold no path of this machine (`render_ansible`). File modes and
    times do not count; paths below the repository do.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    facts = {
        "image": need.name,
        "base_image": base_image_id,
        "version": project["version"],
        "variables": dict(variables),
    }
    digest = hashlib.sha256(_canonical(facts))
    for path in sorted(set(input_files(root, need))):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def input_files(root: Path, need: ImageNeed) -> Iterator[Path]:
    """The repository's files that an image is made of."""
    role, ansible = role_of(need), root / "ansible"
    yield ansible / "ansible.cfg"
    yield ansible / "playbooks" / f"{role}-image.yml"
    yield root / "packer" / f"{role}.pkr.hcl"
    for name in ROLES[role]:
        yield from _below(ansible / "roles" / name)
    for package in PACKAGES[role]:
        yield from _below(root / package)
    yield from requirement_files(root, need)


def requirement_files(root: Path, need: ImageNeed) -> list[Path]:
    """Locked requirements: the program's, then (CPU workers) the engine's."""
    files = [root / "requirements" / f"{role_of(need)}.txt"]
    if need.device == "cpu":
        files.append(root / "requirements" / "engine-cpu.txt")
    return files


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _below(folder: Path) -> Iterable[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part in _IGNORED or part.endswith(".egg-info") for part in parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield path
