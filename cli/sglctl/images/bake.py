"""Make one image: on the emulator's bake host, as a mere record, or with Packer on AWS."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sglctl.config.render.images import ImageNeed
from sglctl.errors import ImageError
from sglctl.images.bake_host import bake_host, stop
from sglctl.images.inputs import role_of
from sglctl.images.materials import gather, image_name, image_tags
from sglctl.images.packer import (
    Progress,
    ansible_playbook,
    packer_command,
    run_packer,
)
from sglctl.images.registry import our_images, tag_specification, wait_available


@dataclass(frozen=True)
class Bake:
    """One image to make. `variables` are the playbook's, without files of this machine."""

    root: Path
    need: ImageNeed
    variables: Mapping[str, Any]
    packer_variables: Mapping[str, Any]
    digest: str
    base_image_id: str
    cache: Path
    log: Path

    @property
    def tags(self) -> dict[str, str]:
        return image_tags(self.need, self.digest)

    @property
    def name(self) -> str:
        return image_name(self.need, self.digest)


def register_record(bake: Bake, ec2: Any) -> str:
    """Process hosts have no disk: the image is its tags."""
    _forget_failed(ec2, bake.name)
    answer = ec2.register_image(
        Name=bake.name,
        Description=f"sglctl {bake.need.name}, release {bake.need.release} (process hosts)",
        Architecture="x86_64",
        RootDeviceName="/dev/xvda",
        TagSpecifications=[tag_specification("image", bake.tags)],
    )
    return str(answer["ImageId"])


def bake_on_emulator(bake: Bake, ec2: Any, hub: str, progress: Progress) -> str:
    """Launch a container host, run the playbook on it through Packer, keep its disk.

    The host has no network, so its software comes from wheelhouses filled here. It is terminated
    whatever happens. Raises ImageError, WaitTimeoutError.
    """
    folder = _work_folder(bake)
    try:
        progress("collect software")
        files = gather(bake.root, bake.need, folder, bake.cache).variables()
        progress("launch the bake host")
        with bake_host(ec2, bake.base_image_id, bake.need.name, folder) as host:
            connection = {"ssh_host": host.address, "ssh_private_key_file": str(host.private_key)}
            source = f"null.{role_of(bake.need)}"
            command = _prepare(bake, folder, files, connection, source, hub)
            run_packer(command, os.environ, bake.log, progress)
            progress("make the image")
            stop(ec2, host.instance_id)
            _forget_failed(ec2, bake.name)
            image_id = str(
                ec2.create_image(
                    InstanceId=host.instance_id,
                    Name=bake.name,
                    Description=f"sglctl {bake.need.name}, release {bake.need.release}",
                    TagSpecifications=[tag_specification("image", bake.tags)],
                )["ImageId"]
            )
            wait_available(ec2, image_id)
            return image_id
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bake_on_aws(bake: Bake, environ: Mapping[str, str], progress: Progress) -> str:
    """Let Packer launch, provision and image an instance. Raises ImageError."""
    folder = _work_folder(bake)
    try:
        files = gather(bake.root, bake.need, folder, None).variables()
        source = f"amazon-ebs.{role_of(bake.need)}"
        command = _prepare(bake, folder, files, bake.packer_variables, source, None)
        run_packer(command, environ, bake.log, progress)
        return artifact_id(folder / "manifest.json")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def artifact_id(manifest: Path) -> str:
    """The image id in Packer's manifest (`us-east-1:ami-…`). Raises ImageError."""
    try:
        artifact = str(json.loads(manifest.read_text())["builds"][-1]["artifact_id"])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ImageError(f"Packer ended well but left no manifest: {error}") from error
    if not (found := re.search(r"ami-[0-9a-f]{8,17}", artifact)):
        raise ImageError(f"Packer's manifest names no image: {artifact!r}")
    return found[0]


def packer_variables(bake: Bake, folder: Path, special: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the template declares without a default, and `special`."""
    ansible = bake.root / "ansible"
    return {
        "ansible_command": str(ansible_playbook()),
        "ansible_config": str(ansible / "ansible.cfg"),
        "image": bake.need.name,
        "input_hash": bake.digest,
        "manifest_file": str(folder / "manifest.json"),
        "playbook": str(ansible / "playbooks" / f"{role_of(bake.need)}-image.yml"),
        "playbook_variables": str(folder / "playbook-variables.json"),
        "release": bake.need.release,
        **special,
    }


def _prepare(
    bake: Bake,
    folder: Path,
    files: Mapping[str, str],
    special: Mapping[str, Any],
    source: str,
    hub: str | None,
) -> list[str]:
    """Write both files of variables; return Packer's command line."""
    playbook = {**bake.variables, **files, "image_manifest_input_hash": bake.digest}
    (folder / "playbook-variables.json").write_text(json.dumps(playbook, indent=2))
    variables_file = folder / "packer.pkrvars.json"
    variables_file.write_text(json.dumps(packer_variables(bake, folder, special), indent=2))
    template = bake.root / "packer" / f"{role_of(bake.need)}.pkr.hcl"
    return packer_command(template, source, variables_file, hub)


def _work_folder(bake: Bake) -> Path:
    base = bake.cache / "bake"
    base.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{bake.need.name}-", dir=base))


def _forget_failed(ec2: Any, name: str) -> None:
    """A name is taken as long as its image exists, also one that failed or was half made."""
    for image in our_images(ec2):
        if image.name == name and image.state != "available":
            ec2.deregister_image(ImageId=image.image_id)
