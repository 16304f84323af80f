"""One thing wrong, and where: `file:line: path.to.key: message (fix)`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

#: Keys and list indexes from the document's root to a value.
KeyPath = tuple[str | int, ...]


def dotted(path: KeyPath) -> str:
    """`("fleets", "chat", "instance_types", 0)` → `fleets.chat.instance_types[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True)
class Finding:
    """An error forbids acting; a warning is shown."""

    severity: Literal["error", "warning"]
    file: Path
    line: int
    key: str
    message: str
    fix: str = ""

    @property
    def place(self) -> str:
        """`file:line`; the file as seen from the working folder where it lies below it."""
        return f"{shown(self.file)}:{self.line}"

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        fix = f" ({self.fix})" if self.fix else ""
        return f"{self.place}: {key}{self.message}{fix}"

    def to_json(self) -> dict[str, Any]:
        return {
            "severity": self.severity,
            "file": shown(self.file),
            "line": self.line,
            "key": self.key,
            "message": self.message,
            "fix": self.fix,
        }


def shown(file: Path) -> str:
    """The path from the repository's `config` folder on, which reads the same everywhere."""
    parts = file.parts
    if "config" in parts:
        last = len(parts) - 1 - parts[::-1].index("config")
        return str(Path(*parts[last:]))
    return str(file)
