"""Stands in for Triton where it is not installed (it is 1 GB, and no CPU can run its kernels).

SGLang defines Triton kernels when its modules are imported: it decorates functions, annotates
arguments with Triton's types and subclasses Triton's classes. All of that works with the
placeholders below. Launching a kernel does not: it raises, and names the kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

#: What torch and SGLang compare against when they ask which Triton this is.
VERSION = "3.0.0"


class KernelLaunchError(RuntimeError):
    """A Triton kernel was launched on a machine that has no Triton."""


class Kernel:
    """A decorated kernel: it can be defined, inspected and passed on, but not launched."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.fn = function

    def __getitem__(self, grid: object) -> NoReturn:
        self._refuse()

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        name = getattr(self.fn, "__qualname__", repr(self.fn))
        raise KernelLaunchError(
            f"Triton kernel {name} cannot run here: Triton is not installed on this CPU worker. "
            "Start SGLang with --attention-backend torch_native and without the feature that "
            "launched it."
        )


class _Type:
    """Base of every placeholder class: can be subclassed, constructed and used as a type."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.value = args[0] if args else None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__()

    def __class_getitem__(cls, item: object) -> type[_Type]:
        return cls


class Placeholder(ModuleType):
    """A module all of whose attributes exist: classes where capitalised, else modules again."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__file__ = __file__
        self.__package__ = name
        for attribute, value in _REAL.get(name, {}).items():
            setattr(self, attribute, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"placeholder {self.__name__} has no attribute {name}")
        child: Any
        if name[:1].isupper():
            child = type(name, (_Type,), {"__module__": self.__name__})
        else:
            child = Placeholder(f"{self.__name__}.{name}")
        setattr(self, name, child)
        return child

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As a decorator, with or without arguments, make a kernel; else another placeholder."""
        if len(args) == 1 and not kwargs and callable(args[0]):
            return args[0] if isinstance(args[0], Kernel) else Kernel(args[0])
        return self

    def __getitem__(self, item: object) -> Placeholder:
        return self

    def __or__(self, other: object) -> Placeholder:
        return self

    __ror__ = __or__


def _ceiling_division(value: int, divisor: int) -> int:
    return -(-value // divisor)


def _next_power_of_2(value: int) -> int:
    return 1 if value <= 1 else 1 << (value - 1).bit_length()


class _NoDriver:
    """Triton's answer on a machine without a GPU; SGLang catches it and takes "cpu"."""

    @property
    def active(self) -> NoReturn:
        raise RuntimeError("0 active drivers: Triton is not installed on this CPU worker")


#: What host code (not kernels) calls, so it has to compute. Names are Triton's.
_REAL: dict[str, dict[str, Any]] = {
    "triton": {
        "__version__": VERSION,
        "cdiv": _ceiling_division,
        "next_power_of_2": _next_power_of_2,
    },
    "triton.runtime": {"driver": _NoDriver()},
    "triton.language": {"constexpr": type("constexpr", (_Type,), {})},
}


class _PlaceholderLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> Placeholder:
        return Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: a placeholder is complete when it is made."""


class TritonFinder(MetaPathFinder):
    """Finds `triton` and everything below it, after every other finder has failed to."""

    def __init__(self) -> None:
        self._loader = _PlaceholderLoader()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "triton" and not fullname.startswith("triton."):
            return None
        return ModuleSpec(fullname, self._loader, is_package=True)
