"""Images outlive the emulator."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

TAGS = [{"Key": "sglctl:image", "Value": "worker-tiny"}, {"Key": "sglctl:release", "Value": "r1"}]


def find(cloud: Any) -> list[dict[str, Any]]:
    return list(
        cloud.client("ec2").describe_images(
            Owners=["self"], Filters=[{"Name": "tag:sglctl:image", "Values": ["worker-tiny"]}]
        )["Images"]
    )


def create(cloud: Any, name: str = "worker") -> tuple[str, str]:
    """An image made of a host: image id and instance id."""
    instance_id = cloud.settle(cloud.group(), 1)[0]
    answer = cloud.client("ec2").create_image(
        InstanceId=instance_id,
        Name=name,
        TagSpecifications=[{"ResourceType": "image", "Tags": TAGS}],
    )
    return str(answer["ImageId"]), instance_id


def test_an_image_made_of_a_host_is_pending_until_its_disk_is_kept(cloud: Any) -> None:
    image_id, instance_id = create(cloud)
    cloud.until(lambda: [i["State"] for i in find(cloud)] == ["available"])
    cache = cloud.images / image_id
    assert (cache / "root" / "disk").exists()
    assert (cache / "root" / "disk").read_text() == instance_id
    calls = [call for call, i in cloud.driver.calls if i == instance_id]
    assert calls == ["launch", "stop", "snapshot", "start"]


def test_a_cached_image_is_registered_again_with_its_tags(sglocal: Any, make_daemon: Any) -> None:
    image_id, _ = create(sglocal)
    sglocal.until(lambda: [i["State"] for i in find(sglocal)] == ["available"])
    sglocal.client("ec2").create_tags(
        Resources=[image_id], Tags=[{"Key": "sglctl:input-hash", "Value": "abc"}]
    )
    again = make_daemon()
    sglocal.endpoint = f"http://127.0.0.1:{again.settings.port}"
    sglocal._clients.clear()
    found = find(sglocal)
    assert [i["ImageId"] for i in found] == [image_id]
    tags = {t["Key"]: t["Value"] for t in found[0]["Tags"]}
    assert tags == {
        "sglctl:image": "worker-tiny",
        "sglctl:release": "r1",
        "sglctl:input-hash": "abc",
    }
    with again.emulator.lock:
        ami = again.emulator.ec2.amis[image_id]
        assert ami.root == again.settings.cache_dir / "images" / image_id / "root"


def test_deregistering_an_image_deletes_its_disk(cloud: Any) -> None:
    image_id, _ = create(cloud)
    cloud.until(lambda: [i["State"] for i in find(cloud)] == ["available"])
    assert (cloud.images / image_id / "root" / "disk").exists()
    cloud.client("ec2").deregister_image(ImageId=image_id)
    assert find(cloud) == []
    assert not (cloud.images / image_id).exists()


def test_a_registered_image_keeps_tags_and_disks(cloud: Any) -> None:
    cloud.client("ec2").register_image(
        Name="worker",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 120, "VolumeType": "gp3"}}
        ],
        TagSpecifications=[{"ResourceType": "image", "Tags": TAGS}],
    )
    devices = [
        (d["DeviceName"], d["Ebs"]["VolumeSize"], d["Ebs"]["VolumeType"])
        for d in find(cloud)[0]["BlockDeviceMappings"]
    ]
    assert devices == [("/dev/xvda", 120, "gp3")]


def test_a_name_is_used_once(cloud: Any) -> None:
    cloud.client("ec2").register_image(Name="worker")
    with pytest.raises(ClientError, match=r"InvalidAMIName\.Duplicate"):
        cloud.client("ec2").register_image(Name="worker")


def test_an_image_whose_disk_cannot_be_kept_has_failed(sglocal: Any) -> None:
    def full(instance_id: str, destination: Any) -> None:
        raise OSError(28, "No space left on device")

    sglocal.driver.snapshot = full
    create(sglocal)
    sglocal.until(lambda: [i["State"] for i in find(sglocal)] == ["failed"])
