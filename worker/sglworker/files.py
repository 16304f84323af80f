"""The files of a host: its document, and the run directory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sglworker.errors import BootError, DocumentError
from sglworker.models import EngineCommand, HostDocument, parse


@dataclass(frozen=True)
class Files:
    """`SGLWORKER_CONFIG` and `SGLWORKER_RUN_DIR`, or the images' places."""

    config: Path
    run_dir: Path
    #: Outlives a boot; systemd's StateDirectory.
    state_dir: Path | None = None

    @classmethod
    def from_environment(cls) -> Files:
        return cls(
            Path(os.environ.get("SGLWORKER_CONFIG") or "/etc/sglworker/worker.yaml"),
            Path(os.environ.get("SGLWORKER_RUN_DIR") or "/run/sglworker"),
            Path(state) if (state := os.environ.get("STATE_DIRECTORY")) else None,
        )

    @property
    def engine(self) -> Path:
        return self.run_dir / "engine.json"

    @property
    def agent(self) -> Path:
        """Where the running agent answers: `{"url": "http://127.0.0.1:30080"}`."""
        return self.run_dir / "agent.json"

    @property
    def wanted(self) -> Path:
        """`started` or `stopped`: what sglang-engine-control.service makes of the engine."""
        return self.run_dir / "engine.wanted"

    @property
    def saved(self) -> Path:
        """What the agent remembers over its own restarts."""
        return self.run_dir / "agent-state.json"

    def host_document(self) -> HostDocument:
        """Raises DocumentError."""
        try:
            text = self.config.read_text()
        except OSError as error:
            raise DocumentError(
                f"cannot read {self.config}: {error.strerror}; SGLWORKER_CONFIG names the file"
            ) from error
        return parse(HostDocument, text, str(self.config))

    def write_engine(self, command: EngineCommand) -> None:
        self._write(self.engine, command.model_dump_json(indent=1))

    def read_engine(self) -> EngineCommand:
        """Raises BootError while the agent has not written it."""
        try:
            text = self.engine.read_text()
        except OSError as error:
            raise BootError(
                f"cannot read {self.engine}: {error.strerror}; the agent writes it when the"
                " weights are read"
            ) from error
        return parse(EngineCommand, text, str(self.engine))

    def want_engine(self, wanted: Literal["started", "stopped"]) -> None:
        """Ask the service manager, which may start and stop units. Raises BootError."""
        self._write(self.wanted, wanted)

    def write_saved(self, text: str) -> None:
        """Raises BootError, e.g. where the disk is full."""
        self._write(self.saved, text)

    @property
    def hydrated(self) -> Path:
        """The key of the weights that were read on this volume."""
        return (self.state_dir or self.run_dir) / "hydrated"

    def is_hydrated(self, key: str) -> bool:
        """A marker that cannot be read means: read the weights."""
        try:
            return self.hydrated.read_text().strip() == key
        except (OSError, UnicodeDecodeError):
            return False

    def write_hydrated(self, key: str) -> None:
        """Raises BootError."""
        self._write(self.hydrated, key)

    def write_agent(self, url: str) -> None:
        self._write(self.agent, json.dumps({"url": url}))

    def _write(self, path: Path, text: str) -> None:
        """Whole or not at all: the engine may be starting just now. Raises BootError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            draft.write_text(text + "\n")
            draft.chmod(0o644)  # the engine runs as another user
            draft.replace(path)
        except OSError as error:
            raise BootError(f"cannot write {path}: {error.strerror}") from error
