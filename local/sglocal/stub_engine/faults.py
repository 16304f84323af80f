"""Failures on request: `POST /stub/faults` changes them while the engine runs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any


class FaultError(ValueError):
    """The wanted faults make no sense; the message says which key and why."""


@dataclass
class Faults:
    """What goes wrong at the moment.

    `die` ends the process at once, as a kill -9 does.
    `hang_before_first_byte` and `hang_after_tokens` keep the request (and its slot) for ever.
    `error_next` requests fail with 500; beyond them the share `error_rate` does.
    `slow_factor` multiplies prefill and token times. `unhealthy` makes /health answer 503.
    """

    die: bool = False
    hang_before_first_byte: bool = False
    hang_after_tokens: int | None = None
    error_next: int = 0
    error_rate: float = 0.0
    slow_factor: float = 1.0
    unhealthy: bool = False

    def change(self, wanted: Any) -> None:
        """Set the given keys, or everything back with `{"reset": true}`; raises FaultError."""
        if not isinstance(wanted, dict):
            raise FaultError("expected a JSON object")
        wanted = dict(wanted)
        base = Faults() if wanted.pop("reset", False) is True else self
        names = {field.name for field in dataclasses.fields(self)}
        if unknown := sorted(set(wanted) - names):
            raise FaultError(f"unknown fault {unknown[0]!r}; known: {', '.join(sorted(names))}")
        changed = dataclasses.replace(base, **wanted)
        changed.check()
        for name in names:
            setattr(self, name, getattr(changed, name))

    def check(self) -> None:
        for name in ("die", "hang_before_first_byte", "unhealthy"):
            if not isinstance(getattr(self, name), bool):
                raise FaultError(f"{name}: expected true or false")
        if self.hang_after_tokens is not None:
            _whole("hang_after_tokens", self.hang_after_tokens)
        _whole("error_next", self.error_next)
        if not _number(self.error_rate) or not 0 <= self.error_rate <= 1:
            raise FaultError("error_rate: expected a number from 0 to 1")
        if not _number(self.slow_factor) or not 0 < self.slow_factor <= 1e6:
            raise FaultError("slow_factor: expected a number above 0")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FaultError(f"{name}: expected a whole number from 0")
