"""What goes to a bake host: our wheels, locked requirements, wheelhouses; and the variables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sglctl.config.render.images import ImageNeed
from sglctl.errors import ImageError
from sglctl.images.inputs import requirement_files, role_of
from sglctl.images.wheels import build_engine_platform_wheel, build_project_wheel, wheelhouse


@dataclass(frozen=True)
class Materials:
    """Files on this machine. Without a wheelhouse the host uses its own package index."""

    wheel: Path
    requirements: Path
    wheelhouse: Path | None = None
    engine_requirements: Path | None = None
    engine_wheelhouse: Path | None = None
    engine_platform_wheel: Path | None = None

    def variables(self) -> dict[str, str]:
        """As the playbooks name them; an empty text where there is none."""
        found = {
            "host_base_wheel": self.wheel,
            "host_base_requirements": self.requirements,
            "host_base_wheelhouse": self.wheelhouse,
        }
        if self.engine_requirements is not None:
            found |= {
                "sglang_worker_engine_requirements": self.engine_requirements,
                "sglang_worker_engine_wheelhouse": self.engine_wheelhouse,
                "sglang_worker_engine_platform_wheel": self.engine_platform_wheel,
            }
        return {name: "" if path is None else str(path) for name, path in found.items()}


def gather(root: Path, need: ImageNeed, folder: Path, cache: Path | None) -> Materials:
    """Build the wheels into `folder`; with a `cache`, fill the wheelhouses there too.

    Raises ImageError.
    """
    program, *engine = requirement_files(root, need)
    wheel = build_project_wheel(root, role_of(need), folder)
    house = None if cache is None else wheelhouse(program, cache)
    if not engine:
        return Materials(wheel, program, house)
    return Materials(
        wheel=wheel,
        requirements=program,
        wheelhouse=house,
        engine_requirements=engine[0],
        engine_wheelhouse=None if cache is None else wheelhouse(engine[0], cache),
        engine_platform_wheel=build_engine_platform_wheel(root, folder),
    )


def check_bakeable(need: ImageNeed, variables: dict[str, Any]) -> None:
    """Refuse a hub model without a pinned commit, before anything is launched."""
    model = variables.get("sglang_worker_model", {})
    if "repository" in model and not model.get("revision"):
        raise ImageError(
            f"model {need.model} has no revision; an image is only baked from a pinned commit",
            hint=f"set source.revision in config/models/{need.model}.yaml",
        )


def image_name(need: ImageNeed, digest: str) -> str:
    """Unique in the account: images of one release differ in their inputs."""
    return f"sglctl-{need.name}-{need.release}-{digest[:12]}"


def image_tags(need: ImageNeed, digest: str) -> dict[str, str]:
    """Tags of an image, as docs/reference/interfaces.md lists them."""
    return {
        "Name": image_name(need, digest),
        "sglctl:image": need.name,
        "sglctl:input-hash": digest,
        "sglctl:release": need.release,
        "sglctl:role": role_of(need),
    }
