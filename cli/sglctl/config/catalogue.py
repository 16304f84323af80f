"""The catalogues: models (config/models), instance types (config/instances.yaml)."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field

from sglctl.config.base import InstanceType, Region, Strict, Texts

Quantization = Literal["none", "awq", "awq_marlin", "fp8", "modelopt_fp8", "mxfp4"]
Dtype = Literal["bfloat16", "float16"]
KvDtype = Literal["auto", "fp8_e5m2", "fp8_e4m3"]


class Source(Strict):
    """Where the weights come from: a Hugging Face repository, or generated."""

    huggingface: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$",
        description="Hugging Face repository, `organisation/name`.",
    )
    revision: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{40}$",
        description="Commit of the repository. A branch such as `main` is refused; null is "
        "allowed with a warning, for the bake then takes what is newest.",
    )
    exclude: Texts = Field(
        default=(), description="Files not downloaded (glob): second copies of the weights."
    )
    file_bytes: int | None = Field(
        default=None,
        gt=0,
        description="Exact sum of the sizes of the weight files; the bake refuses another. "
        "Absent: not checked.",
    )
    generate: Literal["tiny"] | None = Field(
        default=None, description="Generate a tiny random model at bake (needs no download)."
    )


class Architecture(Strict):
    """The figures the KV cache follows from."""

    layers: int = Field(ge=1, description="Hidden layers.")
    attention_layers: int | None = Field(
        default=None,
        ge=1,
        description="Layers whose KV cache grows with the context; absent: all.",
    )
    attention_heads: int = Field(ge=1, description="Query heads.")
    kv_heads: int = Field(ge=1, description="Key/value heads.")
    head_dim: int = Field(ge=1, description="Dimension of one head.")


class Hardware(Strict):
    """Settings on one GPU family or instance type."""

    tensor_parallel: int = Field(default=1, ge=1, le=8, description="GPUs per copy of the model.")
    mem_fraction: float = Field(
        default=0.85,
        gt=0.1,
        lt=1,
        description="Share of GPU memory for weights and KV cache (--mem-fraction-static).",
    )
    quantization: Quantization | None = Field(
        default=None, description="Kernel to load the weights with here; absent: the model's."
    )
    dtype: Dtype | None = Field(default=None, description="Compute type here; absent: the model's.")
    kv_dtype: KvDtype | None = Field(
        default=None, description="KV cache type here; absent: the model's."
    )
    engine_args: Texts = Field(default=(), description="Further engine arguments here.")
    engine_environment: dict[str, str] = Field(
        default={}, description="Environment variables of the engine here."
    )


class ModelEntry(Strict):
    """One model: what it is, how big, and how to run it on which hardware."""

    description: str = Field(description="One line.")
    source: Source = Field(description="Where the weights come from.")
    weight_bytes: int = Field(
        gt=0, description="Bytes of weights that are loaded (for the fit; may be rounded up)."
    )
    parameters: int = Field(gt=0, description="Parameters in total.")
    architecture: Architecture = Field(description="The figures the KV cache follows from.")
    context_length: int = Field(gt=0, description="Longest context the model was made for.")
    quantization: Quantization = Field(description="How the weight files are quantized.")
    dtype: Dtype = Field(description="Type of unquantized weights and of computing.")
    kv_dtype: KvDtype = Field(default="auto", description="KV cache type; auto: as `dtype`.")
    engine_args: Texts = Field(default=(), description="Engine arguments on any hardware.")
    hardware: Annotated[dict[str, Hardware], Field(min_length=1)] = Field(
        description="Settings by GPU family (g6e) or instance type (g6e.12xlarge, wins); "
        "`cpu`: instance types without GPU."
    )


class Instance(Strict):
    """One EC2 instance type."""

    vcpu: int = Field(ge=1, description="Virtual CPUs.")
    memory_gib: float = Field(gt=0, description="Memory in GiB.")
    gpus: int = Field(default=0, ge=0, description="GPUs.")
    gpu: str | None = Field(default=None, description="GPU name.")
    gpu_memory_gib: float = Field(
        default=0, ge=0, description="Memory of one GPU in GiB, as EC2 reports it."
    )
    compute_capability: float | None = Field(default=None, description="CUDA compute capability.")
    usd_per_hour: float | None = Field(
        default=None, ge=0, description="On-demand list price for Linux; null: unknown."
    )


class Prices(Strict):
    """What the prices of the instance catalogue are."""

    region: Region = Field(description="Region of the prices.")
    date: datetime.date = Field(strict=False, description="Day they were current.")
    source: str = Field(description="Where they are from.")


class InstanceCatalogue(Strict):
    """config/instances.yaml."""

    prices: Prices = Field(description="What the prices are.")
    instances: Annotated[dict[InstanceType, Instance], Field(min_length=1)] = Field(
        description="Instance types by name."
    )
