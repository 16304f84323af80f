"""Which images an environment needs, and what they are baked from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sglctl.config.capacity import root_volume_gb
from sglctl.config.catalogue import ModelEntry
from sglctl.config.desired import Desired
from sglctl.config.release import Release
from sglctl.config.render.documents import resolve
from sglctl.errors import ConfigError

ROUTER_IMAGE = "router"
#: What SGLang needs on a machine without GPU, whatever the fleet.
CPU_ENGINE_ARGS = ["--device", "cpu", "--attention-backend", "torch_native", "--disable-cuda-graph"]
#: Seconds beyond its drain that systemd gives a router before it kills it.
STOP_MARGIN_S = 15
ROUTER_VOLUME_GB = 20


@dataclass(frozen=True)
class ImageNeed:
    """One image: found by `sglctl:image` (name) and `sglctl:release`.

    `model` and `device` are None for the router. `pinned` is the id the release file pins for the
    region, if it does. `instance_type` is where it would be baked on AWS.
    """

    name: str
    release: str
    model: str | None
    device: Literal["cpu", "cuda"] | None
    instance_type: str
    pinned: str | None


def worker_image(model: str) -> str:
    """Name of the image that holds a model."""
    return f"worker-{model}"


def required_images(desired: Desired) -> list[ImageNeed]:
    """The router's, and one per model in use; in the order of names.

    Raises ConfigError for fleets that do not resolve (see `validate`).
    """
    release = desired.environment.release
    pins = desired.release.images.get(desired.environment.region, {}) if desired.release else {}
    needs = [
        ImageNeed(ROUTER_IMAGE, release, None, None, desired.environment.router.instance_type,
                  pins.get(ROUTER_IMAGE))
    ]  # fmt: skip
    seen: set[str] = set()
    for name in desired.environment.fleets:
        fleet, _, _, instance = resolve(desired, name)
        image = worker_image(fleet.model)
        if image not in seen:
            seen.add(image)
            device: Literal["cpu", "cuda"] = "cuda" if instance.gpus else "cpu"
            needs.append(ImageNeed(image, release, fleet.model, device, fleet.instance_types[0],
                                   pins.get(image)))  # fmt: skip
    return sorted(needs, key=lambda need: need.name)


def render_packer(desired: Desired, need: ImageNeed) -> dict[str, Any]:
    """Packer variables of one bake; ids and files of this machine are the caller's to add."""
    base = _release(desired).base_images
    pin = base.worker if need.model else base.router
    size = ROUTER_VOLUME_GB
    if need.model:
        size = root_volume_gb(None, desired.models[need.model].weight_bytes)
    return {
        "image": need.name,
        "release": need.release,
        "region": desired.environment.region,
        "account_id": desired.environment.account,
        "instance_type": need.instance_type,
        "source_image_name": pin.name,
        "source_image_owner": pin.owner,
        "root_volume_gb": size,
        "tags": dict(desired.environment.tags),
    }


def render_ansible(desired: Desired, need: ImageNeed) -> dict[str, Any]:
    """Variables of the playbook `worker-image` or `router-image`, without files and input hash."""
    common: dict[str, Any] = {
        "image_manifest_image": need.name,
        "image_manifest_release": need.release,
    }
    if need.model is None:
        limits = desired.environment.router.limits
        stop = limits.drain_s + limits.drain_notice_s + STOP_MARGIN_S
        return {**common, "sglang_router_stop_timeout_s": stop}
    engine, model = _release(desired).engine, desired.models[need.model]
    cpu = need.device == "cpu"
    return {
        **common,
        "sglang_worker_engine": {
            "name": engine.name, "version": engine.version, "device": need.device,
        },
        "sglang_worker_engine_args": CPU_ENGINE_ARGS if cpu else [],
        "sglang_worker_engine_environment": {"HF_HUB_OFFLINE": "1"},
        "sglang_worker_model": _model(need.model, model),
        "sglang_worker_model_exclude": list(model.source.exclude),
    }  # fmt: skip


def _model(name: str, model: ModelEntry) -> dict[str, Any]:
    source = model.source
    if source.generate:
        return {"name": name, "generate": source.generate}
    return {
        "name": name,
        "repository": source.huggingface,
        "revision": source.revision,
        "bytes": source.file_bytes or 0,
    }


def _release(desired: Desired) -> Release:
    if desired.release is None:
        raise ConfigError(
            f"there is no release {desired.environment.release!r}",
            hint=f"sglctl validate --env {desired.name}",
        )
    return desired.release
