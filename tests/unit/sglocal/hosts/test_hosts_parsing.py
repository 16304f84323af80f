"""What is read from the kernel and from apt."""

from __future__ import annotations

from pathlib import Path

import pytest

from sglocal.hosts.cgroups import Hierarchies, parse_hierarchies
from sglocal.hosts.mirror import pick_mirror
from sglocal.hosts.mounts import parse_mount_points
from sglocal.hosts.probe import parse_status
from sglocal.hosts.process_table import Entry, Identity, parse_stat, session_members

V2_ONLY = "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = """\
31 30 0:27 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_a_v2_machine_has_one_hierarchy() -> None:
    assert parse_hierarchies(V2_ONLY) == Hierarchies(Path("/sys/fs/cgroup"), {})


def test_a_hybrid_machine_limits_memory_in_v1_and_counts_members_in_v2() -> None:
    assert parse_hierarchies(HYBRID) == Hierarchies(
        Path("/sys/fs/cgroup/unified"),
        {"memory": Path("/sys/fs/cgroup/memory"), "systemd": Path("/sys/fs/cgroup/systemd")},
    )


def test_a_machine_with_v1_alone_has_no_usable_hierarchy() -> None:
    assert parse_hierarchies(HYBRID.splitlines()[0]) is None


def test_mounts_are_unmounted_latest_first_and_only_below_the_folder() -> None:
    mountinfo = (
        "40 1 0:40 / /state/hosts/i-1/disk rw - overlay overlay rw\n"
        "41 1 0:41 / /state/hosts/i-1/disk/a\\040b rw - tmpfs tmpfs rw\n"
        "42 1 0:42 / /state/hosts-of-another rw - tmpfs tmpfs rw\n"
    )
    assert parse_mount_points(mountinfo, Path("/state/hosts")) == [
        Path("/state/hosts/i-1/disk/a b"),
        Path("/state/hosts/i-1/disk"),
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("http://m/debian/ bookworm main\nhttp://n/debian/ bookworm main", "http://m/debian/"),
        ("http://s/security/ bookworm-security main\nhttp://m/ bookworm main", "http://m/"),
        ("http://m/ubuntu/ jammy main", None),
        ("cdrom://disc/ bookworm main", None),
        ("http://m/debian/ bookworm contrib", None),
        ("", None),
    ],
)
def test_the_mirror_is_the_first_plain_one_with_the_suite(lines: str, expected: str | None) -> None:
    assert pick_mirror(lines, "bookworm") == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"HTTP/1.1 200 OK\r", 200),
        (b"HTTP/1.0 503", 503),
        (b"SSH-2.0-OpenSSH_9.2p1", None),
        (b"HTTP/1.1 two hundred", None),
        (b"", None),
    ],
)
def test_only_an_http_status_line_is_an_answer(line: bytes, expected: int | None) -> None:
    assert parse_status(line) == expected


def test_a_process_name_with_parentheses_does_not_shift_the_fields() -> None:
    between = " ".join(["0"] * 15)  # fields 7 to 21
    assert parse_stat(f"42 (a (b) c) S 1 42 40 {between} 9000 0") == Entry(42, "S", 40, 9000)


LEADER = Identity(pid=100, start=5000, boot_id="boot")


@pytest.mark.parametrize(
    ("entries", "boot", "expected"),
    [
        ([Entry(100, "S", 100, 5000), Entry(101, "S", 100, 5001)], "boot", [100, 101]),
        ([Entry(101, "S", 100, 5001)], "boot", [101]),  # the leader was killed
        ([Entry(100, "S", 100, 9000), Entry(101, "S", 100, 9001)], "boot", []),  # recycled
        ([Entry(100, "S", 100, 5000)], "another boot", []),
        ([Entry(100, "S", 7, 9000)], "boot", []),
    ],
)
def test_a_session_is_ours_unless_its_number_was_recycled(
    entries: list[Entry], boot: str, expected: list[int]
) -> None:
    assert [one.pid for one in session_members(LEADER, entries, boot)] == expected
