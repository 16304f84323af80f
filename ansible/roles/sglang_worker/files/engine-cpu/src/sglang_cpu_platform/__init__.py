"""SGLang on a CPU through SGLang's own plugin seam (entry point group `sglang.srt.platforms`).

An out-of-tree platform makes SGLang dispatch its fused operations to `forward_native`, plain
PyTorch, so neither a GPU nor sgl_kernel's CPU build is needed. `SGLANG_USE_CPU_ENGINE` must stay
unset: it selects SGLang's in-tree CPU platform, which imports sgl_kernel.

Four parts, each for one obstacle:

- `platform`: the platform SGLang asks for its devices and its attention implementation.
- `torchvision_ops`: lets a torchvision built for CUDA import beside a torch built for CPU.
- `triton_placeholder`: stands in for Triton, whose kernels are defined at import, never launched.
- `tiny_model`: writes a small random model, for where no weights can be downloaded.

`startup` installs the two import hooks and is run by a `.pth` file in every process of the
environment.
"""

from __future__ import annotations


def activate() -> str | None:
    """Name the platform class, or None where a GPU is present (SGLang then uses its own)."""
    import torch

    if torch.cuda.is_available():
        return None
    return "sglang_cpu_platform.platform.CpuReferencePlatform"
