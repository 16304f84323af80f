"""The document workers read at boot (FleetDocument)."""

from __future__ import annotations

from typing import Any

from sglctl.config.base import AGENT_PORT, ENGINE_PORT
from sglctl.config.catalogue import Instance, ModelEntry
from sglctl.config.desired import Desired, Settings, hardware_of, settings_of
from sglctl.config.fleet import Disaggregation, Fleet
from sglctl.errors import ConfigError

#: Flags every worker runs with: routers and agents read these metrics and counts.
ALWAYS = ("--enable-metrics", "--enable-cache-report")
#: Quantizations the engine must be told; the others it finds in the checkpoint.
TOLD = ("awq", "awq_marlin", "fp8", "modelopt_fp8")


def resolve(desired: Desired, name: str) -> tuple[Fleet, ModelEntry, Settings, Instance]:
    """A fleet with its model and settings; raises ConfigError where a reference is missing.

    `validate` finds the same with its place: this only guards callers that did not ask it.
    """
    fleet = desired.environment.fleets.get(name)
    if fleet is None:
        there = ", ".join(desired.environment.fleets)
        raise ConfigError(f"there is no fleet {name!r} in {desired.name}", hint=f"fleets: {there}")
    model = desired.models.get(fleet.model)
    instance = desired.instance(fleet.instance_types[0])
    hardware = None
    if model and instance:
        hardware = hardware_of(model, fleet.instance_types[0], instance)
    if model is None or instance is None or hardware is None:
        raise ConfigError(
            f"fleet {name!r} of {desired.name} does not resolve to a model on its instance types",
            hint=f"sglctl validate --env {desired.name}",
        )
    return fleet, model, settings_of(fleet, model, hardware), instance


def engine_args(model: ModelEntry, settings: Settings, instance: Instance) -> list[str]:
    """Arguments of SGLang, in words it documents; the agent adds model path, name and ports."""
    args = list(ALWAYS)
    if settings.tensor_parallel > 1:
        args += ["--tensor-parallel-size", str(settings.tensor_parallel)]
    if instance.gpus:
        args += ["--mem-fraction-static", f"{settings.mem_fraction:g}"]
    if settings.quantization in TOLD:
        args += ["--quantization", settings.quantization]
    if settings.dtype != model.dtype:
        args += ["--dtype", settings.dtype]
    if settings.kv_dtype != "auto":
        args += ["--kv-cache-dtype", settings.kv_dtype]
    return [*args, *settings.engine_args]


def served_name(fleet: Fleet) -> str:
    """The model name clients ask for."""
    return fleet.serve_as or fleet.model


def render_fleet_document(desired: Desired, name: str) -> dict[str, Any]:
    """What a worker of fleet `name` runs (sglworker.models.FleetDocument)."""
    fleet, model, settings, instance = resolve(desired, name)
    return {
        "version": 1,
        "environment": desired.name,
        "fleet": name,
        "role": fleet.role,
        "release": desired.environment.release,
        "model": fleet.model,
        "served_model_name": served_name(fleet),
        "context_length": settings.context_length,
        "engine": fleet.engine,
        "engine_args": engine_args(model, settings, instance),
        "engine_env": dict(settings.engine_environment),
        "engine_port": ENGINE_PORT,
        "agent_port": AGENT_PORT,
        "hydrate": fleet.hydrate,
        "warm_up": {"prompts": fleet.warm_up.prompts, "timeout_s": fleet.warm_up.timeout_s},
        "launch_timeout_s": fleet.launch_timeout_s,
        "drain_deadline_s": fleet.drain_deadline_s,
        **_optional(desired, fleet),
    }


def _optional(desired: Desired, fleet: Fleet) -> dict[str, Any]:
    """What has the agent's default in most fleets: a parameter holds 4 KB."""
    found: dict[str, Any] = {}
    if fleet.role != "regular":
        pair = desired.environment.fleets.get(fleet.prefill_for or "", fleet)
        found["disaggregation"] = (pair.disaggregation or Disaggregation()).model_dump()
    if fleet.on_rebalance != "record":
        found["on_rebalance"] = fleet.on_rebalance
    return found
