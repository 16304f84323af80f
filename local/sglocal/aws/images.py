"""Images that outlive the emulator: RegisterImage, CreateImage and DeregisterImage on the cache.

moto invents an image with a 15 GB magnetic disk for every call and forgets tags of snapshots.
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RegisterImage.html
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeregisterImage.html
CreateImage stops the host even with NoReboot: a running disk cannot be copied as a whole here.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.models.tags import TagBackend
from moto.ec2.responses.amis import AmisResponse

from sglocal.aws.emulator import Emulator
from sglocal.aws.image_store import BASE_NAME, ImageStore, StoredImage, image_id, now
from sglocal.aws.instances import DRIVER_ERRORS, SHUTDOWN_GRACE_S, InstanceHosts

log = logging.getLogger(__name__)

DEFAULT_DISK = {"VolumeSize": 8, "VolumeType": "gp3", "DeleteOnTermination": True}


def install(emulator: Emulator, hosts: InstanceHosts) -> Images:
    """Register cached images and take over the image calls."""
    images = Images(emulator, hosts)
    patches = emulator.patches
    patches.wrap(AmisResponse, "register_image", images.wrap_register)
    patches.wrap(AmisResponse, "create_image", images.wrap_create)
    patches.wrap(AmiBackend, "deregister_image", images.wrap_deregister)
    patches.wrap(TagBackend, "create_tags", images.wrap_tags)
    patches.wrap(TagBackend, "delete_tags", images.wrap_tags)
    patches.wrap(Ami, "block_device_mappings", _block_devices)
    images.register_all()
    return images


class Images:
    """The images of the emulated account."""

    def __init__(self, emulator: Emulator, hosts: InstanceHosts) -> None:
        self.emulator = emulator
        self.hosts = hosts
        self.store = ImageStore(emulator.settings.cache_dir)

    def id_for(self, name: str) -> str:
        """The id of an image of this name."""
        settings = self.emulator.settings
        return image_id(settings.account, settings.region, name)

    def register_all(self) -> None:
        """The base image, then what is in the cache."""
        self.store.sweep()
        if self.emulator.driver.name == "containers":
            base = StoredImage(self.id_for(BASE_NAME), BASE_NAME, "Debian 12", bootable=True)
            self._register(base, root=None)
        for stored in self.store.load():
            self._register(stored, self.store.root(stored.image_id) if stored.bootable else None)

    def _register(self, stored: StoredImage, root: Path | None, *, state: str = "available") -> Any:
        ec2 = self.emulator.ec2
        ami: Any = Ami(
            ec2,
            stored.image_id,
            name=stored.name,
            description=stored.description,
            architecture=stored.architecture,
            virtualization_type="hvm",
            root_device_type="ebs",
            root_device_name=stored.root_device_name,
            image_location=f"{ec2.account_id}/{stored.name}",
            creation_date=_parse(stored.creation_date or now()),
            state=state,
            tags=dict(stored.tags),
        )
        ami.bootable, ami.root, ami.stored = stored.bootable, root, stored
        ami.devices = _devices(ami, stored)
        ec2.amis[ami.id] = ami
        if ami.id in ec2.deleted_amis:
            ec2.deleted_amis.remove(ami.id)
        return ami

    def _new(self, response: Any, **fields: Any) -> StoredImage:
        name = response._get_param("Name")
        for ami in response.ec2_backend.amis.values():
            if ami.name == name:
                raise EC2ClientError(
                    "InvalidAMIName.Duplicate",
                    f"AMI name {name} is already in use by AMI {ami.id}",
                )
        tags = response._parse_tag_specification().get("image", {})
        return StoredImage(
            image_id=self.id_for(name),
            name=name,
            description=response._get_param("Description", "") or "",
            creation_date=now(),
            block_devices=_plain(response._get_param("BlockDeviceMappings", []) or []),
            tags=dict(tags),
            **fields,
        )

    def wrap_register(self, _original: Any) -> Any:
        """RegisterImage: an image without a host's disk (process hosts need none)."""

        def register_image(response: Any) -> ActionResult:
            response.error_on_dryrun()
            root_device = response._get_param("RootDeviceName") or "/dev/xvda"
            architecture = response._get_param("Architecture") or "x86_64"
            stored = self._new(response, root_device_name=root_device, architecture=architecture)
            self.store.save(stored)
            return ActionResult({"ImageId": self._register(stored, root=None).id})

        return register_image

    def wrap_create(self, _original: Any) -> Any:
        """CreateImage: pending until the host's disk is in the cache."""

        def create_image(response: Any) -> ActionResult:
            response.error_on_dryrun()
            instance = response.ec2_backend.get_instance(response._get_param("InstanceId"))
            if instance.state not in ("running", "stopped"):
                raise EC2ClientError(
                    "IncorrectState",
                    f"Instance {instance.id} is {instance.state}; it must be running or stopped",
                )
            has_disk = self.hosts.has_host(instance.id) and (
                self.emulator.driver.name == "containers"
            )
            stored = self._new(
                response,
                root_device_name=instance.root_device_name or "/dev/xvda",
                architecture=instance.architecture or "x86_64",
                bootable=has_disk,
            )
            if not has_disk:
                self.store.save(stored)
                return ActionResult({"ImageId": self._register(stored, root=None).id})
            ami = self._register(stored, self.store.root(stored.image_id), state="pending")
            ami.instance_id = instance.id
            self.emulator.jobs.submit(instance.id, lambda: self._snapshot(instance, ami))
            return ActionResult({"ImageId": ami.id})

        return create_image

    def _snapshot(self, instance: Any, ami: Any) -> None:
        driver = self.emulator.driver
        try:
            was_running = driver.status(instance.id) == "running"
            if was_running:
                driver.stop(instance.id, graceful_s=SHUTDOWN_GRACE_S)
            driver.snapshot(instance.id, ami.root)
            self.store.save(self._with_current_tags(ami))
            if was_running:
                driver.start(instance.id)
        except DRIVER_ERRORS as error:
            log.error("image %s of %s was not made: %s", ami.id, instance.id, error)
            with self.emulator.lock:
                ami.state = "failed"
                ami.state_reason = {"Code": "Server.InternalError", "Message": str(error)}
            return
        with self.emulator.lock:
            ami.state = "available"

    def _with_current_tags(self, ami: Any) -> StoredImage:
        with self.emulator.lock:
            tags = {tag["key"]: tag["value"] for tag in ami.get_tags()}
            return StoredImage(**{**vars(ami.stored), "tags": tags})

    def wrap_deregister(self, original: Any) -> Any:
        """DeregisterImage: the disk goes too (on AWS its snapshots would stay)."""

        def deregister_image(backend: Any, ami: str) -> None:
            original(backend, ami)
            self.store.delete(ami)

        return deregister_image

    def wrap_tags(self, original: Any) -> Any:
        """CreateTags and DeleteTags of an image reach its document."""

        def change(backend: Any, resource_ids: list[str], tags: dict[str, str]) -> Any:
            result = original(backend, resource_ids, tags)
            for resource in resource_ids:
                ami = backend.amis.get(resource) if resource.startswith("ami-") else None
                if ami is not None and (self.store.folder / resource / "image.json").exists():
                    self.store.save(self._with_current_tags(ami))
            return result

        return change


def _parse(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _plain(mappings: list[Any]) -> list[dict[str, Any]]:
    return [{"DeviceName": m.get("DeviceName"), "Ebs": dict(m.get("Ebs") or {})} for m in mappings]


def _devices(ami: Any, stored: StoredImage) -> list[dict[str, Any]]:
    """The mappings as EC2 reports them: the root device always, each with a snapshot."""
    given = {m["DeviceName"]: m["Ebs"] for m in stored.block_devices}
    given.setdefault(stored.root_device_name, {})
    return [
        {
            "DeviceName": name,
            "Ebs": {**DEFAULT_DISK, "SnapshotId": ami.ebs_snapshot.id, "Encrypted": False, **ebs},
        }
        for name, ebs in given.items()
    ]


def _block_devices(original: Any) -> property:
    def block_device_mappings(ami: Any) -> list[dict[str, Any]]:
        devices = getattr(ami, "devices", None)
        answer: list[dict[str, Any]] = original.fget(ami) if devices is None else devices
        return answer

    return property(block_device_mappings)
