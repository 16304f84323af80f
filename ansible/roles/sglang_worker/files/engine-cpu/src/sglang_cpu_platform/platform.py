"""The platform SGLang talks to on a machine without a GPU."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from sglang.srt.platforms.cpu import CpuDeviceMixin
from sglang.srt.platforms.device_mixin import PlatformEnum
from sglang.srt.platforms.interface import PlatformCapabilities, SRTPlatform


class CpuReferencePlatform(CpuDeviceMixin, SRTPlatform):  # type: ignore[misc]
    """SGLang's CPU device operations, with PyTorch's implementation of everything else.

    `OOT` (out of tree) is what makes SGLang's layers choose `forward_native`; with `CPU` they
    would call sgl_kernel. The capabilities keep their defaults: no graphs, no custom all-reduce.
    """

    _enum = PlatformEnum.OOT
    device_name = "cpu"
    device_type = "cpu"
    capabilities = PlatformCapabilities()

    def get_default_attention_backend(self) -> str:
        return "torch_native"

    def get_dispatch_key_name(self) -> str:
        return "native"

    def get_torch_profiler_activity_str(self) -> str:
        return "CPU"

    def get_torch_profiler_activity(self) -> Any:
        return torch.profiler.ProfilerActivity.CPU

    def init_backend(self) -> None:
        """Let a prefill worker send its cache from plain memory.

        SGLang 0.5.23 pins host tensors and records CUDA events when Mooncake's sender says that
        it takes host indices; both need a CUDA driver. Only prefill/decode installs Mooncake.
        """
        if importlib.util.find_spec("mooncake") is None:
            return
        from sglang.srt.disaggregation.mooncake.conn import MooncakeKVSender

        MooncakeKVSender.supports_host_tensor_indices = False
