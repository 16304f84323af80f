"""Looks at this machine, and installs what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from ctypes.util import find_library
from pathlib import Path

from sglctl.context import cache_home
from sglctl.doctor import terraform_release
from sglctl.doctor.tools import Finding, Purpose, Tool, judge, needed, packages_to_install
from sglctl.errors import PreconditionError

_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
#: Measured: the 22nd container host fails to boot at the kernel's default of 128.
_INOTIFY_PER_HOST = 6
_APT_TIMEOUT_S = 900


def is_root() -> bool:
    return os.geteuid() == 0


def examine(purposes: Sequence[Purpose]) -> dict[str, Finding]:
    """Every needed tool, by name."""
    return {tool.name: _look(tool) for tool in needed(purposes, root=is_root())}


def _look(tool: Tool) -> Finding:
    if tool.library:
        return judge(tool, find_library(tool.name), None)
    path = shutil.which(tool.name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    output = None
    if path is not None and tool.version_args is not None:
        # Terraform and Packer would ask the internet whether they are the newest.
        env = {**os.environ, "CHECKPOINT_DISABLE": "1"}
        result = subprocess.run(
            [path, *tool.version_args], capture_output=True, text=True, timeout=30, env=env
        )
        output = result.stdout
    return judge(tool, path, output)


def limits() -> list[str]:
    """Kernel limits that will bite, as sentences."""
    if not _INOTIFY.is_file():
        return []
    value = int(_INOTIFY.read_text())
    if value >= 256:
        return []
    return [
        f"fs.inotify.max_user_instances is {value}: about {value // _INOTIFY_PER_HOST}"
        " container hosts fit (sysctl -w fs.inotify.max_user_instances=1024)"
    ]


def install(findings: dict[str, Finding], say: Callable[[str], None]) -> None:
    """Install what is missing: Debian packages by apt (root), Terraform from its release.

    Raises PreconditionError with the command to run where this process may not do it.
    """
    packages = packages_to_install(findings)
    if packages:
        _apt(packages, say)
    terraform = findings.get("terraform")
    if terraform is not None and not terraform.ok:
        say(f"Downloading Terraform {terraform_release.VERSION} ...")
        say(f"Installed {terraform_release.install(cache_home() / 'bin')}")


def _apt(packages: list[str], say: Callable[[str], None]) -> None:
    line = "apt-get install " + " ".join(packages)
    if shutil.which("apt-get") is None:
        raise PreconditionError(
            "these tools are missing and this is no Debian or Ubuntu: " + ", ".join(packages),
            hint="install them with your system's package manager",
        )
    if not is_root():
        raise PreconditionError(
            "installing packages needs root: " + ", ".join(packages), hint=f"sudo {line}"
        )
    say(f"{line} ...")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ):
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_APT_TIMEOUT_S, env=env
        )
        if result.returncode != 0:
            tail = (result.stderr or result.stdout).strip()[-400:]
            raise PreconditionError(f"{' '.join(command[:2])} failed: {tail}", hint=line)
    _disable_services()


def _disable_services() -> None:
    """Debian starts haproxy as a service on installation; ours is started by the emulator."""
    if shutil.which("systemctl") and Path("/run/systemd/system").is_dir():
        subprocess.run(
            ["systemctl", "disable", "--now", "haproxy"], capture_output=True, timeout=60
        )
