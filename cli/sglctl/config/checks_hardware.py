"""Rules of one fleet on its instance types: settings, GPUs, kernels, memory, context."""

from __future__ import annotations

from collections.abc import Iterator

from sglctl.config.catalogue import Instance, ModelEntry
from sglctl.config.checks_environment import unknown_instance
from sglctl.config.desired import Desired, Settings, family, hardware_of, settings_of
from sglctl.config.finding import Finding, KeyPath
from sglctl.config.fit import (
    LEAST_CAPABILITY,
    LEAST_CAPABILITY_BFLOAT16,
    LEAST_CAPABILITY_FP8_CACHE,
    fit,
    longest_context,
)
from sglctl.config.fleet import Fleet


def check_hardware(desired: Desired, name: str, fleet: Fleet) -> Iterator[Finding]:
    """Every instance type of the fleet, with the fleet's model."""
    source, model = desired.sources["environment"], desired.models.get(fleet.model)
    first: tuple[str, Settings] | None = None
    for index, instance_type in enumerate(fleet.instance_types):
        path: KeyPath = ("fleets", name, "instance_types", index)
        instance = desired.instance(instance_type)
        if instance is None:
            yield unknown_instance(desired, path, instance_type)
            continue
        if model is None:
            continue
        hardware = hardware_of(model, instance_type, instance)
        if hardware is None:
            yield _no_settings(desired, path, fleet, instance_type, instance)
            continue
        settings = settings_of(fleet, model, hardware)
        if first is not None and settings != first[1]:
            yield source.finding(
                path,
                f"runs {fleet.model} otherwise than {first[0]} ({_difference(settings, first[1])})",
                "all workers of a fleet run the same: split the fleet, or set it on the fleet",
            )
        first = first or (instance_type, settings)
        yield from _one(desired, path, fleet, model, settings, instance_type, instance)
    if model and fleet.context_length and fleet.context_length > model.context_length:
        yield source.finding(
            ("fleets", name, "context_length"),
            f"{fleet.context_length} is more than {fleet.model} has ({model.context_length})",
            f"write {model.context_length} or less",
        )


def _no_settings(
    desired: Desired, path: KeyPath, fleet: Fleet, instance_type: str, instance: Instance
) -> Finding:
    kind = f"the GPU family {family(instance_type)}" if instance.gpus else "instances without GPU"
    known = ", ".join(sorted(desired.models[fleet.model].hardware))
    return desired.sources["environment"].finding(
        path,
        f"model {fleet.model} has no settings for {kind}",
        f"it has: {known}; or add them to config/models/{fleet.model}.yaml under hardware",
    )


def _difference(one: Settings, other: Settings) -> str:
    mine, theirs = one._asdict(), other._asdict()
    return ", ".join(
        f"{key} {mine[key]} instead of {theirs[key]}" for key in mine if mine[key] != theirs[key]
    )


def _one(
    desired: Desired, path: KeyPath, fleet: Fleet, model: ModelEntry, settings: Settings,
    instance_type: str, instance: Instance,
) -> Iterator[Finding]:  # fmt: skip
    yield from _parallel(desired, path, model, settings, instance_type, instance)
    if instance.gpus:
        yield from _kernels(desired, path, fleet, settings, instance_type, instance)
    if instance.gpus and settings.tensor_parallel > instance.gpus:
        return
    yield from _memory(desired, path, fleet, model, settings, instance_type, instance)


def _parallel(
    desired: Desired, path: KeyPath, model: ModelEntry, settings: Settings,
    instance_type: str, instance: Instance,
) -> Iterator[Finding]:  # fmt: skip
    source, wanted = desired.sources["environment"], settings.tensor_parallel
    heads = model.architecture.attention_heads
    if heads % wanted:
        yield source.finding(
            path, f"tensor_parallel {wanted} does not divide the model's {heads} attention heads"
        )
    if not instance.gpus:
        return
    if wanted > instance.gpus:
        yield source.finding(
            path,
            f"tensor_parallel {wanted} needs more GPUs than {instance_type} has ({instance.gpus})",
            "choose a larger size, or lower tensor_parallel",
        )
    elif wanted < instance.gpus:
        yield source.finding(
            path,
            f"{instance.gpus - wanted} of {instance.gpus} GPUs of {instance_type} stay idle "
            f"(tensor_parallel {wanted})",
            "choose a smaller size, or raise tensor_parallel",
            warning=True,
        )


def _kernels(
    desired: Desired, path: KeyPath, fleet: Fleet, settings: Settings,
    instance_type: str, instance: Instance,
) -> Iterator[Finding]:  # fmt: skip
    has = instance.compute_capability or 0.0
    where = f"{instance_type} ({instance.gpu}) has {has}"
    source = desired.sources["environment"]
    least = LEAST_CAPABILITY[settings.quantization]
    if has < least:
        fix = "use awq" if settings.quantization == "awq_marlin" else "choose another GPU family"
        yield source.finding(
            path, f"{settings.quantization} needs compute capability {least}, {where}", fix
        )
    if settings.dtype == "bfloat16" and has < LEAST_CAPABILITY_BFLOAT16:
        yield source.finding(
            path,
            f"bfloat16 needs compute capability {LEAST_CAPABILITY_BFLOAT16}, {where}",
            f"write `dtype: float16` for {family(instance_type)} "
            f"in config/models/{fleet.model}.yaml",
        )
    least = LEAST_CAPABILITY_FP8_CACHE[settings.kv_dtype]
    if has < least:
        yield source.finding(
            path, f"a KV cache of {settings.kv_dtype} needs compute capability {least}, {where}"
        )


def _memory(
    desired: Desired, path: KeyPath, fleet: Fleet, model: ModelEntry, settings: Settings,
    instance_type: str, instance: Instance,
) -> Iterator[Finding]:  # fmt: skip
    room = fit(model, settings, instance)
    if room.fits or settings.context_length > model.context_length:  # the latter is told by itself
        return
    each = f"each of {settings.tensor_parallel} GPUs" if instance.gpus else "the machine"
    numbers = (
        f"{room.needed:.1f} GiB needed ({room.weights:.1f} weights + {room.cache:.1f} KV cache of "
        f"one context of {settings.context_length} tokens), {room.available:.1f} available in "
        f"{each}"
    )
    longest = longest_context(model, settings, instance)
    choose = "choose a larger GPU, or raise tensor_parallel"
    yield desired.sources["environment"].finding(
        path,
        f"{fleet.model} does not fit {instance_type}: {numbers}",
        f"{choose}, or set context_length to {longest} or less" if longest >= 1024 else choose,
    )
