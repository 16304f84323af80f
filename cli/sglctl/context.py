"""What every command knows: where the repository is, which environment, how to talk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sglctl.errors import PreconditionError


@dataclass(frozen=True)
class Context:
    """Global options, resolved once (flag > environment variable > default)."""

    root: Path
    environment: str
    output: str
    yes: bool
    dry_run: bool
    verbose: bool

    @property
    def config_dir(self) -> Path:
        return self.root / "config"

    @property
    def state_dir(self) -> Path:
        """State of this environment on this machine; outside the repository."""
        return state_home() / self.environment


def state_home() -> Path:
    """`SGLCTL_STATE_DIR`, else the XDG state folder."""
    if value := os.environ.get("SGLCTL_STATE_DIR"):
        return Path(value).expanduser().resolve()
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "sglctl"


def cache_home() -> Path:
    """`SGLCTL_CACHE_DIR`, else the XDG cache folder: what can be made again."""
    if value := os.environ.get("SGLCTL_CACHE_DIR"):
        return Path(value).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "sglctl"


def find_root(start: Path) -> Path:
    """The folder that holds `config/environments`, from `start` upwards.

    Raises PreconditionError where there is none.
    """
    for folder in (start, *start.parents):
        if (folder / "config" / "environments").is_dir():
            return folder
    raise PreconditionError(
        f"no sglctl repository at {start} or above it (no config/environments folder)",
        hint="change into your clone, or name it with --root or SGLCTL_ROOT",
    )
