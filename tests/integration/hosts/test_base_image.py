"""The base image's cache, with a small script in the place of debootstrap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from container_world import MARKS

from sglocal.hosts.base import base_path, ensure_base
from sglocal.hosts.driver import HostError

pytestmark = MARKS

DEBOOTSTRAP = """#!/bin/sh
for word; do case "$word" in /*) root=$word;; esac; done
echo "I: Retrieving all"
echo built >> "$(dirname "$root")/../builds"
mkdir -p "$root/etc/ssh/sshd_config.d" "$root/etc/apt" "$root/etc/systemd/system" \\
    "$root/var/cache/apt/archives" "$root/var/lib/apt/lists" "$root/var/log" "$root/var/lib/dbus"
echo secret > "$root/etc/ssh/ssh_host_rsa_key"
echo 0123 > "$root/var/lib/dbus/machine-id"
echo "deb http://mirror.invalid/ bookworm main" > "$root/etc/apt/sources.list"
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder before the others on PATH that holds `debootstrap`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def install(tools: Path, script: str) -> None:
    (tools / "debootstrap").write_text(script)
    (tools / "debootstrap").chmod(0o755)


def builds(cache: Path) -> int:
    return len((cache / "builds").read_text().split())


def test_a_second_build_is_none_at_all(tools: Path, tmp_path: Path) -> None:
    install(tools, DEBOOTSTRAP)
    lines: list[str] = []
    first = ensure_base(tmp_path, lines.append)
    assert "Retrieving all" in lines
    assert ensure_base(tmp_path, lines.append) == first
    assert builds(tmp_path) == 1


def test_the_base_carries_no_key_no_id_and_no_package_source(tools: Path, tmp_path: Path) -> None:
    install(tools, DEBOOTSTRAP)
    root = ensure_base(tmp_path, print)
    assert list((root / "etc/ssh").glob("ssh_host_*")) == []
    assert not (root / "var/lib/dbus/machine-id").exists()
    assert (root / "etc/machine-id").read_text() == ""
    assert (root / "etc/apt/sources.list").read_text() == ""
    assert (root / "etc/systemd/system/apt-daily.timer").readlink() == Path("/dev/null")


def test_a_failed_build_tells_the_end_of_its_log_and_leaves_no_base(
    tools: Path, tmp_path: Path
) -> None:
    install(tools, "#!/bin/sh\necho 'E: no such suite' >&2\nexit 7\n")
    with pytest.raises(HostError, match=r"(?s)status 7.*no such suite"):
        ensure_base(tmp_path, print)
    assert not base_path(tmp_path).exists()


def test_a_killed_build_dies_whole_and_the_next_one_starts_afresh(
    tools: Path, tmp_path: Path
) -> None:
    install(tools, f"#!/bin/sh\necho $$ > {tmp_path}/up\nmount -t tmpfs none $4\nsleep 600\n")
    program = f"""
from pathlib import Path
from sglocal.hosts.base import ensure_base
ensure_base(Path({str(tmp_path)!r}), print)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL) as build:
        deadline = time.monotonic() + 20
        while not (tmp_path / "up").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        build.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while _mentions(str(tools)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    install(tools, DEBOOTSTRAP)
    assert ensure_base(tmp_path, print).is_dir()
    assert list(base_path(tmp_path).parent.glob(".*building*")) == []


def _mentions(text: str) -> bool:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text.encode() in (entry / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False
