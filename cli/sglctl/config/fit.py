"""Does a model fit: weights and the KV cache of one full context against GPU memory."""

from __future__ import annotations

from typing import NamedTuple

from sglctl.config.catalogue import Instance, ModelEntry, Quantization
from sglctl.config.desired import Settings

GIB = 1 << 30

#: Least CUDA compute capability of each kernel. fp8 needs Ada or Hopper tensor cores for the
#: activations; awq_marlin, bfloat16 and the MXFP4 kernels need Ampere; plain awq Turing.
LEAST_CAPABILITY: dict[Quantization, float] = {
    "none": 7.0,
    "awq": 7.5,
    "awq_marlin": 8.0,
    "mxfp4": 8.0,
    "fp8": 8.9,
    "modelopt_fp8": 8.9,
}
LEAST_CAPABILITY_BFLOAT16 = 8.0
LEAST_CAPABILITY_FP8_CACHE = {"auto": 0.0, "fp8_e5m2": 8.0, "fp8_e4m3": 8.9}

#: Memory a CPU engine takes beside weights and cache (measured: SGLang 0.5.23, 1.5 GB a worker).
CPU_ENGINE_GIB = 1.5


class Fit(NamedTuple):
    """GiB per GPU (of the whole machine without GPU)."""

    weights: float
    cache: float
    available: float

    @property
    def needed(self) -> float:
        return self.weights + self.cache

    @property
    def fits(self) -> bool:
        return self.needed <= self.available


def cache_bytes_per_token(model: ModelEntry, kv_dtype: str, tensor_parallel: int = 1) -> int:
    """Bytes of KV cache per token on one GPU: 2 (K and V) x layers x heads here x head_dim x width.

    With more GPUs than KV heads every GPU still holds one (the engine replicates them).
    """
    shape = model.architecture
    heads = max(1, -(-shape.kv_heads // tensor_parallel))
    width = 1 if kv_dtype.startswith("fp8") else 2
    return 2 * (shape.attention_layers or shape.layers) * heads * shape.head_dim * width


def fit(model: ModelEntry, settings: Settings, instance: Instance) -> Fit:
    """Weights are divided evenly over the GPUs, the cache by KV heads."""
    gpus = settings.tensor_parallel
    cache = cache_bytes_per_token(model, settings.kv_dtype, gpus) * settings.context_length
    if instance.gpus:
        available = instance.gpu_memory_gib * settings.mem_fraction
    else:
        available = instance.memory_gib * settings.mem_fraction - CPU_ENGINE_GIB
    return Fit(model.weight_bytes / gpus / GIB, cache / GIB, available)


def longest_context(model: ModelEntry, settings: Settings, instance: Instance) -> int:
    """The most tokens whose cache would fit, in steps of 1024; 0 where the weights do not."""
    room = fit(model, settings, instance)._replace(cache=0)
    per_token = cache_bytes_per_token(model, settings.kv_dtype, settings.tensor_parallel)
    tokens = int((room.available - room.weights) * GIB // per_token)
    return max(0, tokens // 1024 * 1024)
