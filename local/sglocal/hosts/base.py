"""The base image of container hosts: Debian with systemd and sshd, no keys, no package sources.

Cached by a hash of what goes in, built in a temporary folder and renamed, so that a build that is
killed half-way is never taken for a base.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sglocal.hosts.driver import HostError
from sglocal.hosts.mirror import discover_mirror, proxy_environment
from sglocal.hosts.tool import tool

SUITE = "bookworm"
# systemd and sshd make it a host; python3*, sudo, acl, rsync and the archivers are what Ansible
# uses; libnuma1 and libgomp1 are what the CPU engine links to. Hosts have no network to add more.
PACKAGES = [
    "acl",
    "bash",
    "ca-certificates",
    "curl",
    "dbus",
    "gzip",
    "iproute2",
    "libgomp1",
    "libnuma1",
    "libpam-systemd",
    "netcat-openbsd",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "python3-venv",
    "rsync",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tar",
    "xz-utils",
    "zstd",
]
# Units that would only wake an idle host, or wait for a network that is not there.
MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-timesyncd.service",
)
SSHD_CONFIG = "PermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\n"
BUILD_DEADLINE_S = 1800

Progress = Callable[[str], None]


def base_name() -> str:
    """The folder's name: a hash of everything that decides what the base holds."""
    recipe = [SUITE, platform.machine(), PACKAGES, MASKED_UNITS, SSHD_CONFIG, "recipe 1"]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]


def base_path(cache_dir: Path) -> Path:
    return cache_dir / "base" / base_name()


def ensure_base(cache_dir: Path, progress: Progress) -> Path:
    """The root folder of the base image, built first if it is not in the cache (about a minute).

    Needs root and debootstrap. Raises HostError with the end of debootstrap's log.
    """
    target = base_path(cache_dir)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(target.parent / f".{target.name}.lock"):
        if target.is_dir():  # another emulator built it while this one waited
            return target
        prefix = f".{target.name}.building-"
        for leftover in target.parent.glob(prefix + "*"):
            shutil.rmtree(leftover)
        building = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        try:
            _bootstrap(building, target.parent / f"{target.name}.log", progress)
            _configure(building)
            building.rename(target)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    progress(f"base image {SUITE} is ready: {target}")
    return target


@contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def bootstrap_command(root: Path, mirror: str | None) -> list[str]:
    """debootstrap in its own namespaces: mounts and processes end with it, also by SIGKILL."""
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"),
        *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        *(SUITE, str(root), *([mirror] if mirror else [])),
    ]


def _bootstrap(root: Path, log: Path, progress: Progress) -> None:
    mirror = discover_mirror(SUITE)
    progress(f"building the base image {SUITE} from {mirror or 'the default mirror'}")
    child = subprocess.Popen(
        bootstrap_command(root, mirror),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **proxy_environment(), "DEBIAN_FRONTEND": "noninteractive"},
    )
    alarm = threading.Timer(BUILD_DEADLINE_S, child.kill)
    alarm.start()
    try:
        with child, log.open("w") as sink:
            try:
                _follow(child, sink, progress)
            except BaseException:  # Ctrl-C: do not wait for debootstrap's end
                child.kill()
                raise
    finally:
        alarm.cancel()
    if child.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise HostError(f"debootstrap failed (status {child.returncode}; log: {log}):\n{tail}")


def _follow(child: subprocess.Popen[str], sink: IO[str], progress: Progress) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        sink.write(line)
        if line.startswith("I: "):
            progress(line[3:].strip())


def _configure(root: Path) -> None:
    """Take out what must not be shared (keys, ids, sources) and what hosts do not need."""
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/ssh/sshd_config.d/10-sglocal.conf").write_text(SSHD_CONFIG)
    (root / "etc/machine-id").write_text("")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    # No sources: `apt-get update` succeeds at once on a host, which has no network anyway.
    (root / "etc/apt/sources.list").write_text("")
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / folder)
        (root / folder / "partial").mkdir(parents=True)
    for log in (root / "var/log").glob("*.log"):
        log.unlink()
    tool(["systemctl", f"--root={root}", "mask", *MASKED_UNITS])
