"""Every image an environment needs: found by its tags, or made."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sglctl.aws.session import Session
from sglctl.config.desired import Desired
from sglctl.config.render.images import (
    ImageNeed,
    render_ansible,
    render_packer,
    required_images,
)
from sglctl.context import Context, cache_home
from sglctl.errors import ImageError, PreconditionError
from sglctl.images.bake import Bake, bake_on_aws, bake_on_emulator, register_record
from sglctl.images.inputs import input_hash
from sglctl.images.materials import check_bakeable
from sglctl.images.packer import Progress
from sglctl.images.registry import base_image, find_image
from sglctl.images.superseded import forget_superseded
from sglctl.local import Emulator, running

#: What the base of an image is called where it has no disk (process hosts).
NO_DISK = "process"


def ensure_images(
    context: Context,
    desired: Desired,
    session: Session,
    progress: Progress,
    *,
    only: Collection[str] = (),
) -> dict[str, str]:
    """Image name → id, for every image the environment needs (or `only` those named).

    In the emulator an image is used again when it was made of the same inputs; else it is baked
    on a host of the emulator, or only recorded where hosts are processes. On AWS the release's
    pin wins, then any image of the release; else Packer bakes one. `progress` gets one line per
    step. With `context.dry_run` nothing is made and a missing image has the id "".

    Raises ImageError, PreconditionError, LocalError, WaitTimeoutError.
    """
    emulator, ec2 = _emulator(context, session), session.client("ec2")
    result: dict[str, str] = {}
    for need in chosen(required_images(desired), only):
        image_id = existing(context, desired, need, ec2, emulator)
        if image_id is not None:
            progress(f"{need.name}: {image_id} (nothing changed)")
        elif context.dry_run:
            progress(f"{need.name}: would be made")
        else:
            image_id = _make(context, desired, need, session, emulator, progress)
            progress(f"{need.name}: {image_id} (made)")
        result[need.name] = image_id or ""
    return result


def chosen(needs: list[ImageNeed], only: Collection[str]) -> list[ImageNeed]:
    """Those named, or all. Raises ImageError for a name that no fleet needs."""
    names = [need.name for need in needs]
    for name in only:
        if name not in names:
            raise ImageError(
                f"this environment needs no image {name!r}", hint=f"images: {', '.join(names)}"
            )
    return [need for need in needs if not only or need.name in only]


def existing(
    context: Context, desired: Desired, need: ImageNeed, ec2: Any, emulator: Emulator | None
) -> str | None:
    """The image that would be used now, None where one has to be made."""
    if emulator is None:
        if need.pinned is not None:
            return need.pinned
        found = find_image(ec2, need.name, need.release)
    else:
        digest = _plan(context, desired, need, ec2, emulator).digest
        found = find_image(ec2, need.name, need.release, digest)
    return None if found is None else found.image_id


def _make(
    context: Context,
    desired: Desired,
    need: ImageNeed,
    session: Session,
    emulator: Emulator | None,
    progress: Progress,
) -> str:
    ec2 = session.client("ec2")
    bake = _plan(context, desired, need, ec2, emulator)

    def step(text: str) -> None:
        progress(f"{need.name}: {text}")

    if emulator is not None and emulator.hosts == "processes":
        return register_record(bake, ec2)
    check_bakeable(need, dict(bake.variables))
    with _one_bake_at_a_time(bake.cache, need.name):
        if emulator is None or emulator.hub is None:
            return bake_on_aws(bake, session.environ, step)
        if need.device == "cuda":
            raise ImageError(
                f"image {need.name} holds an engine for GPUs, which hosts of this machine lack",
                hint="use process hosts, or a fleet with a CPU instance type",
            )
        _check_tools()
        image_id = bake_on_emulator(bake, ec2, emulator.hub, step)
        forget_superseded(ec2, need)
        return image_id


def _plan(
    context: Context, desired: Desired, need: ImageNeed, ec2: Any, emulator: Emulator | None
) -> Bake:
    packer = render_packer(desired, need)
    if emulator is not None and emulator.hosts == "processes":
        base = NO_DISK
    else:
        base = base_image(ec2, packer["source_image_name"], packer["source_image_owner"])
    variables: Mapping[str, Any] = render_ansible(desired, need)
    return Bake(
        root=context.root,
        need=need,
        variables=variables,
        packer_variables=_for_template(packer),
        digest=input_hash(context.root, need, variables, base),
        base_image_id=base,
        cache=cache_home(),
        log=context.state_dir / "logs" / f"bake-{need.name}.log",
    )


def _for_template(packer: Mapping[str, Any]) -> dict[str, Any]:
    """Without values that are absent: the template has its own defaults for those."""
    return {key: value for key, value in packer.items() if value is not None}


@contextmanager
def _one_bake_at_a_time(cache: Path, name: str) -> Iterator[None]:
    """Two bakes of one image would terminate each other's host. Raises PreconditionError."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"bake-{name}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PreconditionError(
                f"another process is baking {name} on this machine",
                hint="wait for it, then run the command again",
            ) from error
        yield


def _emulator(context: Context, session: Session) -> Emulator | None:
    """The environment's emulator, None on AWS."""
    emulator = running(context)
    if emulator is None and session.emulated:
        raise PreconditionError(
            f"the emulator at {session.endpoint} was not started for {context.environment}, so "
            "its hosts cannot be reached to bake images",
            hint=f"unset AWS_ENDPOINT_URL, then sglctl local up --env {context.environment}",
        )
    return emulator


def _check_tools() -> None:
    """Baking enters the hosts' network. Raises PreconditionError with what is missing."""
    if os.geteuid() != 0:
        raise PreconditionError(
            "baking images of container hosts needs root",
            hint="run as root, or use process hosts",
        )
    for tool, package in (("nsenter", "util-linux"), ("ssh-keygen", "openssh-client")):
        if shutil.which(tool) is None:
            raise PreconditionError(f"{tool} is not installed", hint=f"apt-get install {package}")
