"""What is wanted in one environment: the files, parsed, with the place of every value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sglctl.config.catalogue import Hardware, Instance, InstanceCatalogue, ModelEntry, Quantization
from sglctl.config.environment import Environment
from sglctl.config.fleet import Fleet
from sglctl.config.release import Release
from sglctl.config.yamltext import Parsed


@dataclass(frozen=True)
class Desired:
    """One environment and everything it refers to.

    `models` has the models its fleets use; a fleet may name one that is missing, and so may
    `release` be None: `validate` reports it. `sources` are the parsed files, by their role:
    `environment`, `instances`, `release`, `model:<name>`.
    """

    name: str
    environment: Environment
    models: Mapping[str, ModelEntry]
    known_models: tuple[str, ...]
    instances: InstanceCatalogue
    release: Release | None
    known_releases: tuple[str, ...]
    sources: Mapping[str, Parsed]

    @property
    def is_local(self) -> bool:
        return self.environment.target == "local"

    def instance(self, instance_type: str) -> Instance | None:
        return self.instances.instances.get(instance_type)


class Settings(NamedTuple):
    """How one fleet runs its model on one instance type: model file, then hardware, then fleet."""

    tensor_parallel: int
    mem_fraction: float
    quantization: Quantization
    dtype: str
    kv_dtype: str
    context_length: int
    engine_args: tuple[str, ...]
    engine_environment: tuple[tuple[str, str], ...]


def family(instance_type: str) -> str:
    """`g6e.12xlarge` → `g6e`."""
    return instance_type.split(".", 1)[0]


def hardware_of(model: ModelEntry, instance_type: str, instance: Instance) -> Hardware | None:
    """The model's settings for an instance type: its own, its family's, or those of `cpu`."""
    names = (instance_type, family(instance_type)) if instance.gpus else (instance_type, "cpu")
    return next((model.hardware[name] for name in names if name in model.hardware), None)


def settings_of(fleet: Fleet, model: ModelEntry, hardware: Hardware) -> Settings:
    """Fleet over hardware over model; arguments are appended in the order model, hardware, fleet
    (the engine takes the last of a repeated argument)."""
    return Settings(
        tensor_parallel=fleet.tensor_parallel or hardware.tensor_parallel,
        mem_fraction=fleet.mem_fraction or hardware.mem_fraction,
        quantization=hardware.quantization or model.quantization,
        dtype=hardware.dtype or model.dtype,
        kv_dtype=hardware.kv_dtype or model.kv_dtype,
        context_length=fleet.context_length or model.context_length,
        engine_args=(*model.engine_args, *hardware.engine_args, *fleet.engine_args),
        engine_environment=tuple(
            sorted({**hardware.engine_environment, **fleet.engine_environment}.items())
        ),
    )
