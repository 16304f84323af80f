"""What `GET /_sglocal/status` answers."""

from __future__ import annotations

from typing import Any

from sglocal.aws.autoscaling.records import find_member
from sglocal.aws.emulator import Emulator
from sglocal.aws.extensions import Extensions
from sglocal.aws.host_spec import tags_of
from sglocal.balancer.service import Balancer


def document(
    emulator: Emulator, extensions: Extensions, balancer: Balancer, ca_file: str, pid: int
) -> dict[str, Any]:
    """Hosts, load balancers and images as they are now."""
    urls = balancer.urls()
    with emulator.lock:
        hosts = [_host(emulator, i) for i in sorted(extensions.hosts.ids)]
        balancers = [
            _balancer(emulator, b, urls.get(b.name, []))
            for b in emulator.elbv2.load_balancers.values()
        ]
        images = [_image(ami) for ami in emulator.ec2.amis.values() if hasattr(ami, "stored")]
    return {
        "version": 1,
        "pid": pid,
        "account": emulator.settings.account,
        "region": emulator.settings.region,
        "driver": emulator.driver.name,
        "ca_file": ca_file,
        "hosts": [host for host in hosts if host is not None],
        "load_balancers": balancers,
        "images": images,
        "errors": sorted(balancer.errors.values()),
    }


def _host(emulator: Emulator, instance_id: str) -> dict[str, Any] | None:
    instance = emulator.instance(instance_id)
    if instance is None:
        return None
    tags = tags_of(instance)
    return {
        "instance_id": instance_id,
        "address": instance.private_ip,
        "role": tags.get("sglctl:role"),
        "fleet": tags.get("sglctl:fleet"),
        "image": instance.image_id,
        "state": instance.state,
        "lifecycle_state": _lifecycle(instance),
        "log": str(emulator.driver.log_path(instance_id)),
    }


def _lifecycle(instance: Any) -> str | None:
    group = getattr(instance, "autoscaling_group", None)
    state = find_member(group, instance.id) if group is not None else None
    return str(state.lifecycle_state) if state is not None else None


def _balancer(emulator: Emulator, balancer: Any, urls: list[str]) -> dict[str, Any]:
    targets = []
    for group in emulator.elbv2.target_groups.values():
        if balancer.arn in group.load_balancer_arns:
            for health in emulator.elbv2.describe_target_health(group.arn, []):
                target = {"target_group": group.name, "id": health.instance_id}
                targets.append({**target, "port": int(health.port), "state": health.status})
    return {
        "name": balancer.name,
        "url": urls[0] if urls else None,
        "urls": urls,
        "targets": targets,
    }


def _image(ami: Any) -> dict[str, Any]:
    return {
        "id": ami.id,
        "name": ami.name,
        "state": ami.state,
        "bootable": ami.bootable,
        "tags": {tag["key"]: tag["value"] for tag in ami.get_tags()},
    }
