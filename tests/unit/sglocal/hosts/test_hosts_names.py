"""Names and addresses of hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sglocal.hosts.driver import HostError
from sglocal.hosts.names import (
    checked_id,
    host_name,
    host_namespace,
    hub_name,
    loopback_address,
    router_address,
    veth_name,
)


def test_two_state_folders_never_share_a_hub(tmp_path: Path) -> None:
    names = {hub_name(tmp_path / "a"), hub_name(tmp_path / "b")}
    assert len(names) == 2


def test_a_state_folder_named_in_two_ways_has_one_hub(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert hub_name(tmp_path / "link" / "a") == hub_name(tmp_path / "a")


def test_a_link_name_fits_the_kernels_fifteen_characters() -> None:
    assert len(veth_name("i-0123456789abcdef0")) <= 15


def test_a_machine_name_fits_the_kernels_sixty_four_characters() -> None:
    assert len(host_namespace("sgl-01234567", "i-0123456789abcdef0")) <= 64


@pytest.mark.parametrize(
    ("cidr", "expected"),
    [("10.40.0.0/16", "10.40.0.1/16"), ("172.31.0.0/20", "172.31.0.1/20")],
)
def test_the_vpc_router_has_the_first_address(cidr: str, expected: str) -> None:
    assert router_address(cidr) == expected


@pytest.mark.parametrize("cidr", ["10.40.0.1/16", "10.0.0.0/29", "nonsense", "fd00::/64"])
def test_what_is_no_vpc_network_is_refused_by_name(cidr: str) -> None:
    with pytest.raises(HostError, match=cidr):
        router_address(cidr)


@pytest.mark.parametrize(
    ("private", "expected"), [("10.40.0.11", "127.40.0.11"), ("172.31.5.9", "127.31.5.9")]
)
def test_a_process_host_answers_on_loopback(private: str, expected: str) -> None:
    assert loopback_address(private) == expected


def test_the_host_name_is_ec2s() -> None:
    assert host_name("10.40.0.11") == "ip-10-40-0-11"


@pytest.mark.parametrize("bad", ["../etc", "", "i/1", "I-1", "i" * 60])
def test_an_id_that_is_unsafe_as_a_folder_is_refused(bad: str) -> None:
    with pytest.raises(HostError, match="instance id"):
        checked_id(bad)
