"""Installs the import hooks. Runs at the start of every Python process of the environment.

It must stay cheap and import nothing but the standard library: `pip` runs it too.
"""

from __future__ import annotations

import sys

from sglang_cpu_platform.torchvision_ops import TorchvisionFinder
from sglang_cpu_platform.triton_placeholder import TritonFinder

# First in line: the operators must be declared before torchvision's own modules run.
sys.meta_path.insert(0, TorchvisionFinder())
# Last in line: an installed Triton wins.
sys.meta_path.append(TritonFinder())
