"""The tools sglctl drives: data, and the pure judgement of what was found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Purpose = Literal["aws", "local", "lint", "engine"]
Status = Literal["ok", "missing", "old"]


@dataclass(frozen=True)
class Tool:
    """A program on PATH, or (`library`) a shared library the linker finds by this name.

    `package` is Debian's package of it; None: sglctl downloads the pinned release itself.
    `root_only` tools serve container hosts, which need root; process hosts do without them.
    """

    name: str
    package: str | None
    purposes: tuple[Purpose, ...]
    why: str
    minimum: tuple[int, int] = (0, 0)
    version_args: tuple[str, ...] | None = None
    root_only: bool = False
    library: bool = False


TOOLS: tuple[Tool, ...] = (
    Tool("terraform", None, ("aws", "local", "lint"), "plans and applies the infrastructure",
         minimum=(1, 10), version_args=("version",)),
    Tool("haproxy", "haproxy", ("local",), "is the load balancer on this machine",
         minimum=(2, 4), version_args=("-v",)),
    Tool("packer", "packer", ("local",), "bakes images", minimum=(1, 6),
         version_args=("version",), root_only=True),
    Tool("systemd-nspawn", "systemd-container", ("local",), "runs container hosts",
         minimum=(247, 0), version_args=("--version",), root_only=True),
    Tool("debootstrap", "debootstrap", ("local",), "makes the base image", root_only=True),
    Tool("ip", "iproute2", ("local",), "makes network namespaces", root_only=True),
    Tool("nsenter", "util-linux", ("local",), "enters network namespaces", root_only=True),
    Tool("ssh", "openssh-client", ("local",), "carries Ansible", root_only=True),
    Tool("nc", "netcat-openbsd", ("local",), "carries ssh into the hosts' network",
         root_only=True),
    Tool("shellcheck", "shellcheck", ("lint",), "checks shell scripts"),
    Tool("ibverbs", "libibverbs1", ("engine",), "is linked by prefill/decode's KV transfer",
         library=True),
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One tool's state. `fix` is a command; empty when all is well."""

    tool: str
    status: Status
    detail: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        return self.status == "ok"


def needed(purposes: Sequence[Purpose], *, root: bool) -> tuple[Tool, ...]:
    """The tools for these purposes; container tools only where there is root to use them."""
    return tuple(
        tool
        for tool in TOOLS
        if set(tool.purposes) & set(purposes) and (root or not tool.root_only)
    )


def parse_version(text: str) -> tuple[int, int] | None:
    """The first `1.2`-like (or systemd's `252`) number of a tool's version output."""
    match = re.search(r"(\d+)(?:\.(\d+))?", text)
    return (int(match[1]), int(match[2] or 0)) if match else None


def judge(tool: Tool, path: str | None, version_output: str | None) -> Finding:
    """Is the tool there, and new enough?"""
    if path is None:
        return Finding(tool.name, "missing", f"not found; it {tool.why}", _fix(tool))
    version = parse_version(version_output) if version_output else None
    if version is None:
        return Finding(tool.name, "ok", path)
    shown = ".".join(map(str, version))
    if version < tool.minimum:
        wanted = ".".join(map(str, tool.minimum))
        return Finding(tool.name, "old", f"{shown} at {path}; {wanted} needed", _fix(tool))
    return Finding(tool.name, "ok", f"{shown} at {path}")


def _fix(tool: Tool) -> str:
    if tool.package is None:
        return "sglctl doctor --install"
    return f"apt-get install {tool.package}"


def packages_to_install(findings: Mapping[str, Finding]) -> list[str]:
    """Debian packages of what is missing or old, sorted."""
    by_name = {tool.name: tool for tool in TOOLS}
    found = {by_name[name].package for name, finding in findings.items() if not finding.ok}
    return sorted(package for package in found if package is not None)
