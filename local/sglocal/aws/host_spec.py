"""What a host needs, from what EC2 knows of its instance."""

from __future__ import annotations

import base64
import ipaddress
from typing import Any

from moto.ec2.models.instances import MetadataOptions

from sglocal.aws.emulator import Emulator
from sglocal.hosts.driver import HostSpec

# Port of the metadata service of process hosts, which cannot have 169.254.169.254 to themselves.
PROCESS_METADATA_PORT = 8169


def tags_of(instance: Any) -> dict[str, str]:
    """The instance's tags by key."""
    return {tag["key"]: tag["value"] for tag in instance.get_tags()}


def becomes_host(driver: str, instance: Any) -> bool:
    """Containers: images that can boot. Processes: instances with a role (tag `sglctl:role`)."""
    if driver == "processes":
        return "sglctl:role" in tags_of(instance)
    image = instance.ec2_backend.amis.get(instance.image_id)
    return bool(getattr(image, "bootable", False))


def set_address(instance: Any, address: str) -> None:
    """Make EC2 report the address at which the host really answers."""
    interface = instance.nics[0]
    for entry in interface.private_ip_addresses:
        if entry.get("PrivateIpAddress") == interface.private_ip_address:
            entry["PrivateIpAddress"] = address
    interface.private_ip_address = address


def build(emulator: Emulator, instance: Any) -> tuple[HostSpec, str]:
    """The driver's description of the instance, and the CIDR of its VPC. Hold the lock."""
    ec2 = emulator.ec2
    cidr = ec2.get_vpc(instance.vpc_id).cidr_block
    image = ec2.amis.get(instance.image_id)
    spec = HostSpec(
        instance_id=instance.id,
        address=instance.private_ip,
        prefix_length=ipaddress.ip_network(cidr).prefixlen,
        tags=tags_of(instance),
        user_data=user_data(instance),
        image_root=getattr(image, "root", None),
        authorized_keys=_keys(ec2, instance.key_name),
        environment=environment(emulator, instance.private_ip),
    )
    return spec, cidr


def user_data(instance: Any) -> bytes:
    """The decoded user data, empty when there is none."""
    return base64.b64decode(str(instance.user_data)) if instance.user_data else b""


def environment(emulator: Emulator, address: str) -> dict[str, str]:
    """What a host's programs need to find the emulator."""
    region = emulator.settings.region
    variables = {
        "AWS_ENDPOINT_URL": emulator.host_endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }
    if emulator.driver.name == "processes":
        endpoint = f"http://{address}:{PROCESS_METADATA_PORT}"
        variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = endpoint
    return variables


def _keys(ec2: Any, key_name: str | None) -> tuple[str, ...]:
    pair = ec2.key_pairs.get(key_name) if key_name else None
    return (pair.public_key.strip(),) if pair is not None else ()


def complete_from_template(ec2: Any, kwargs: dict[str, Any]) -> None:
    """Take from the launch template what moto's RunInstances leaves out.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RequestLaunchTemplateData.html
    """
    if not kwargs.get("launch_template"):
        return
    data = ec2._get_template_from_args(kwargs["launch_template"]).data
    interfaces = data.get("NetworkInterfaces") or []
    if interfaces and not kwargs.get("security_group_ids"):
        kwargs["security_group_ids"] = list(interfaces[0].get("Groups") or [])
    if not kwargs.get("subnet_id") and not kwargs.get("nics") and interfaces:
        kwargs["subnet_id"] = interfaces[0].get("SubnetId")
    if data.get("MetadataOptions") and not kwargs.get("metadata_options"):
        kwargs["metadata_options"] = data["MetadataOptions"]
    devices = [m for m in data.get("BlockDeviceMappings") or [] if m.get("Ebs")]
    if devices and not kwargs.get("block_device_mappings"):
        # Without this moto adds an 8 GB root volume beside the template's own.
        kwargs["block_device_mappings"] = devices
    behavior = data.get("InstanceInitiatedShutdownBehavior")
    if behavior and not kwargs.get("instance_initiated_shutdown_behavior"):
        kwargs["instance_initiated_shutdown_behavior"] = behavior


def apply_template(ec2: Any, instance: Any, kwargs: dict[str, Any]) -> None:
    """Profile, volumes and their tags of the launch template, on an instance just made."""
    if not kwargs.get("launch_template"):
        return
    data = ec2._get_template_from_args(kwargs["launch_template"]).data
    profile = data.get("IamInstanceProfile") or {}
    asked = kwargs.get("iam_instance_profile_name") or kwargs.get("iam_instance_profile_arn")
    if profile and not asked:
        ec2.associate_iam_instance_profile(
            instance_id=instance.id,
            iam_instance_profile_name=profile.get("Name"),
            iam_instance_profile_arn=profile.get("Arn"),
        )
    for specification in data.get("TagSpecifications") or []:
        if specification.get("ResourceType") == "volume":
            tags = {tag["Key"]: tag["Value"] for tag in specification.get("Tags", [])}
            volumes = [device.volume_id for _, device in instance.get_block_device_mapping]
            if volumes and tags:
                ec2.create_tags(volumes, tags)
    if not isinstance(instance.metadata_options, MetadataOptions):
        instance.metadata_options = MetadataOptions(instance.metadata_options)
