"""Which hosts a machine can have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sglocal.hosts.factory import Facts, reasons

FIT = Facts(
    system="Linux",
    euid=0,
    missing_tools=(),
    overlay=True,
    cgroup2=True,
    sys_admin=True,
)


def test_a_fit_machine_has_both_kinds() -> None:
    assert reasons("containers", FIT) == reasons("processes", FIT) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"euid": 1000}, "run as root or use --hosts processes"),
        ({"sys_admin": False}, "CAP_SYS_ADMIN"),
        ({"missing_tools": ("nsenter", "unshare")}, "apt-get install --yes util-linux"),
        ({"missing_tools": ("systemd-nspawn",)}, "apt-get install --yes systemd-container"),
        ({"overlay": False}, "modprobe overlay"),
        ({"cgroup2": False}, "cgroup v2"),
        ({"system": "Darwin"}, "need Linux, this is Darwin"),
    ],
)
def test_each_reason_against_containers_says_what_to_do(change: dict[str, Any], told: str) -> None:
    (reason,) = reasons("containers", replace(FIT, **change))
    assert told in reason


def test_process_hosts_need_neither_root_nor_tools() -> None:
    poor = replace(FIT, euid=1000, missing_tools=("ip",), overlay=False, cgroup2=False)
    assert reasons("processes", poor) == []


def test_every_reason_is_told_at_once() -> None:
    assert len(reasons("containers", replace(FIT, euid=1, missing_tools=("ip",)))) == 2
