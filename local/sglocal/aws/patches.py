"""Replacing parts of moto explicitly, and putting them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ABSENT = object()


class Patches:
    """Attributes of moto's classes that we replaced; `undo` restores every one of them."""

    def __init__(self) -> None:
        self._originals: list[tuple[type, str, Any]] = []

    def wrap(self, owner: type, name: str, make: Callable[[Any], Any]) -> None:
        """Replace `owner.name` by `make(original)`. Raises AttributeError if moto has no such name:
        a new version of moto that moved it must be noticed, not silently left unpatched.
        """
        original = getattr(owner, name)
        self.set(owner, name, make(original))

    def set(self, owner: type, name: str, value: Any) -> None:
        """Give `owner` an attribute that moto lacks, or replace one without calling it."""
        self._originals.append((owner, name, owner.__dict__.get(name, _ABSENT)))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Restore what was there before, newest first."""
        while self._originals:
            owner, name, original = self._originals.pop()
            if original is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
