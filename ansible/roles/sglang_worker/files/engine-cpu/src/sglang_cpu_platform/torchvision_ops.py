"""Lets torchvision import where its compiled operators cannot load.

The torchvision on the package index links against CUDA. Beside a CPU build of torch its
extension does not load, and its Python modules then fail at import with "operator
torchvision::nms does not exist", because they attach implementations to operators nobody
declared. SGLang imports torchvision only for its image transforms, so declaring the operators
(without a kernel) is enough: calling one still fails, and says that it has no kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")


class TorchvisionFinder(MetaPathFinder):
    """Declares the operators when torchvision is first imported, then steps aside."""

    def __init__(self) -> None:
        self._library: Any = None  # torch drops the operators with the last reference to this

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "torchvision" and self._library is None:
            import torch

            if torch.version.cuda is None:
                self._library = torch.library.Library("torchvision", "DEF")
                for operator in _OPERATORS:
                    self._library.define(operator + _SCHEMA)
            elif self in sys.meta_path:
                sys.meta_path.remove(self)
