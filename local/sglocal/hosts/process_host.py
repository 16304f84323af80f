"""What a process host consists of on disk: its folders, documents, environment and services."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sglocal.hosts.driver import HostSpec
from sglocal.hosts.process_table import MARKER, Identity

ROLE_TAG = "sglctl:role"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


def _module(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *words)


@dataclass(frozen=True)
class RoleCommands:
    """The command lines of a host's services (docs/reference/interfaces.md, "systemd units")."""

    agent: tuple[str, ...] = field(default_factory=lambda: _module("sglworker", "agent"))
    engine: tuple[str, ...] = field(default_factory=lambda: _module("sglworker", "engine"))
    router: tuple[str, ...] = field(
        default_factory=lambda: _module("sglrouter", "serve", "--from-instance")
    )
    stub: tuple[str, ...] = field(default_factory=lambda: _module("sglocal.stub_engine"))


@dataclass(frozen=True)
class Layout:
    """The files of one host below its folder."""

    folder: Path

    @property
    def run(self) -> Path:
        """Gone with every start, as /run is."""
        return self.folder / "run"

    @property
    def etc(self) -> Path:
        return self.folder / "etc"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def log(self) -> Path:
        return self.folder / "log" / "console.log"

    @property
    def ready(self) -> Path:
        return self.run / "supervisor.ready"

    @property
    def supervisor(self) -> Path:
        return self.etc / "supervisor.json"

    @property
    def identity(self) -> Path:
        return self.folder / "host.json"


def services(role: str | None, layout: Layout, commands: RoleCommands) -> list[dict[str, object]]:
    """What the supervisor runs for an instance's `sglctl:role`; other instances idle."""
    if role == "worker":
        document, wanted = str(layout.run / "engine.json"), str(layout.run / "engine.wanted")
        return [
            {"name": "agent", "argv": commands.agent, "after": None, "wanted": None},
            {"name": "engine", "argv": commands.engine, "after": document, "wanted": wanted},
        ]
    if role == "router":
        wanted = str(layout.run / "router.wanted")
        return [{"name": "router", "argv": commands.router, "after": None, "wanted": wanted}]
    return []


def host_document(spec: HostSpec, layout: Layout, commands: RoleCommands) -> dict[str, object]:
    """`worker.yaml`: an image that has the stub engine and, for any model, no weights."""
    return {
        "version": 1,
        "bind": spec.address,
        "engine": {"kind": "stub", "command": list(commands.stub)},
        "model": {"name": "stub", "path": str(layout.folder / "model")},
    }


def environment(spec: HostSpec, layout: Layout) -> dict[str, str]:
    """The host's whole environment: nothing of the emulator's leaks in, credentials included."""
    return {
        "HOME": str(layout.folder),
        "LANG": "C.UTF-8",
        "PATH": f"{layout.bin}:{SYSTEM_PATH}",
        "PYTHONUNBUFFERED": "1",
        **spec.environment,
        MARKER: str(layout.folder),
        "SGLCTL_HOST_ADDRESS": spec.address,
        "SGLWORKER_CONFIG": str(layout.etc / "worker.yaml"),
        "SGLWORKER_RUN_DIR": str(layout.run),
    }


def write_host(spec: HostSpec, layout: Layout, commands: RoleCommands) -> None:
    """Make the folders and documents of a new host."""
    for folder in (layout.etc, layout.bin, layout.log.parent, layout.folder / "model"):
        folder.mkdir(parents=True)
    role = spec.tags.get(ROLE_TAG)
    _write_json(layout.etc / "worker.yaml", host_document(spec, layout, commands))
    _write_json(
        layout.supervisor,
        {
            "instance_id": spec.instance_id,
            "ready": str(layout.ready),
            "services": services(role, layout, commands),
        },
    )
    for command, module in (("sglworker", "sglworker"), ("sglrouter", "sglrouter")):
        wrapper = layout.bin / command
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(_module(module))} "$@"\n')
        wrapper.chmod(0o755)


def renew_run(layout: Layout) -> None:
    """An empty run folder, as after a boot."""
    if layout.run.exists():
        shutil.rmtree(layout.run)
    layout.run.mkdir()


def write_identity(layout: Layout, supervisor: Identity) -> None:
    _write_json(layout.identity, vars(supervisor))


def read_identity(layout: Layout) -> Identity | None:
    """The supervisor on record; None when the host never ran (or its record is cut off)."""
    try:
        return Identity(**json.loads(layout.identity.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")
