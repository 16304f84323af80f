"""The variables of terraform/environment (docs/reference/interfaces.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sglctl.config.base import AGENT_PORT, ENGINE_PORT, ROUTER_ADMIN_PORT, ROUTER_PORT
from sglctl.config.capacity import GroupCapacity, root_volume_gb, split
from sglctl.config.desired import Desired
from sglctl.config.render.documents import render_fleet_document, resolve
from sglctl.config.render.images import ROUTER_IMAGE, required_images, worker_image
from sglctl.config.render.router_document import render_router_document
from sglctl.errors import ConfigError


def render_terraform(
    desired: Desired, *, images: Mapping[str, str], emulated: bool
) -> dict[str, Any]:
    """Variables by name. `images`: image name (`worker-<model>`, `router`) → image id.

    Raises ConfigError naming every image that is missing.
    """
    missing = [need.name for need in required_images(desired) if need.name not in images]
    if missing:
        raise ConfigError(
            f"no image of release {desired.environment.release} for: {', '.join(missing)}",
            hint=f"sglctl image build --env {desired.name}",
        )
    environment = desired.environment
    return {
        "environment": desired.name,
        "region": environment.region,
        "account_id": environment.account,
        "release": environment.release,
        "emulated": emulated,
        "tags": dict(environment.tags),
        "network": _network(desired),
        "router": _router(desired, images[ROUTER_IMAGE]),
        "fleets": {
            name: _fleet(desired, name, images[worker_image(fleet.model)])
            for name, fleet in environment.fleets.items()
        },
        "observability": environment.observability.model_dump(),
    }


def resolve_placeholder(names: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Ids for `config render` where nobody looked them up: the unknown ones say so."""
    return {name: known.get(name, f"<unresolved: {name}>") for name in names}


def _network(desired: Desired) -> dict[str, Any]:
    network = desired.environment.network
    existing = network.existing
    return {
        "cidr": network.cidr,
        "availability_zones": network.availability_zones,
        "nat": network.nat,
        "existing": None
        if existing is None
        else {
            "vpc_id": existing.vpc_id,
            "public_subnet_ids": list(existing.public_subnet_ids),
            "private_subnet_ids": list(existing.private_subnet_ids),
        },
    }


def _router(desired: Desired, image_id: str) -> dict[str, Any]:
    router = desired.environment.router
    return {
        "image_id": image_id,
        "instance_type": router.instance_type,
        "count": router.count,
        "port": ROUTER_PORT,
        "admin_port": ROUTER_ADMIN_PORT,
        "listener_port": router.listener_port,
        "tls": router.tls.model_dump() if router.tls else None,
        "internal": router.internal,
        "allowed_cidrs": list(router.allowed_cidrs),
        "admin_cidrs": list(router.admin_cidrs),
        "idle_timeout_s": router.idle_timeout_s,
        "deregistration_delay_s": router.deregistration_delay_s,
        "root_volume_gb": router.root_volume_gb,
        "externals": sorted(desired.environment.externals),
        "document": compact(render_router_document(desired)),
    }


def _fleet(desired: Desired, name: str, image_id: str) -> dict[str, Any]:
    fleet, model, _, _ = resolve(desired, name)
    groups, volume = split(fleet), fleet.root_volume
    return {
        "model": fleet.model,
        "image_id": image_id,
        "instance_types": list(fleet.instance_types),
        "groups": {"on_demand": _group(groups.on_demand), "spot": _group(groups.spot)},
        "warm_pool": fleet.warm_pool.model_dump() if fleet.warm_pool else None,
        "root_volume": {
            "size_gb": root_volume_gb(volume.size_gb, model.weight_bytes),
            "iops": volume.iops,
            "throughput_mbps": volume.throughput_mbps,
        },
        "prefill_for": fleet.prefill_for,
        "engine_port": ENGINE_PORT,
        "agent_port": AGENT_PORT,
        "launch_timeout_s": fleet.launch_timeout_s,
        "drain_deadline_s": fleet.drain_deadline_s,
        "document": compact(render_fleet_document(desired, name)),
        "tags": dict(fleet.tags),
    }


def _group(capacity: GroupCapacity | None) -> dict[str, int] | None:
    return capacity._asdict() if capacity else None


def compact(document: Mapping[str, Any]) -> str:
    """JSON without spaces: an SSM parameter holds 4 KB (8 KB in the advanced tier)."""
    return json.dumps(document, separators=(",", ":"))
