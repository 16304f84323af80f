"""Where this machine gets Debian packages from: its own apt configuration, never a fixed name."""

from __future__ import annotations

import shlex

from sglocal.hosts.driver import HostError
from sglocal.hosts.tool import tool

_FORMAT = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
_SCHEMES = ("http://", "https://", "file:")


def pick_mirror(index_targets: str, suite: str) -> str | None:
    """The first plain repository with `suite`/main among apt's `URI suite component` lines."""
    for line in index_targets.splitlines():
        uri, _, rest = line.partition(" ")
        if rest.split() == [suite, "main"] and uri.startswith(_SCHEMES):
            return uri
    return None


def discover_mirror(suite: str) -> str | None:
    """The machine's mirror of `suite`; None without one (debootstrap then takes its default)."""
    try:
        return pick_mirror(tool(["apt-get", "indextargets", "--format", _FORMAT]), suite)
    except HostError:
        return None  # not a Debian machine: no apt-get, or sources apt cannot read


def proxy_environment() -> dict[str, str]:
    """apt's proxy as the variables wget (debootstrap's downloader) reads; empty without one."""
    found: dict[str, str] = {}
    for scheme in ("http", "https"):
        try:
            line = tool(["apt-config", "shell", "PROXY", f"Acquire::{scheme}::Proxy"])
        except HostError:
            return {}
        _, _, value = line.strip().partition("=")
        words = shlex.split(value)
        if words and words[0] != "DIRECT":
            found[f"{scheme}_proxy"] = words[0]
    return found
