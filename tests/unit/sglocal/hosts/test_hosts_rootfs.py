"""Writing a host's identity into its disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sglocal.hosts.driver import HostError, HostSpec
from sglocal.hosts.rootfs import environment_file, write, write_identity

SPEC = HostSpec(
    "i-0123456789abcdef0",
    "10.40.0.11",
    16,
    {},
    authorized_keys=["ssh-ed25519 AAAA me\n"],
    environment={"AWS_ENDPOINT_URL": "http://169.254.169.253:5566", "AWS_REGION": "us-east-1"},
)


def test_an_identity_replaces_the_images(tmp_path: Path) -> None:
    (tmp_path / "etc/ssh").mkdir(parents=True)
    (tmp_path / "etc/ssh/ssh_host_rsa_key").write_text("of the bake host")
    (tmp_path / "etc/machine-id").write_text("of the bake host")

    write_identity(tmp_path, SPEC)

    keys = sorted(file.name for file in (tmp_path / "etc/ssh").iterdir())
    assert keys == ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"]
    assert (tmp_path / "etc/machine-id").read_text() == ""
    assert (tmp_path / "etc/hostname").read_text() == "ip-10-40-0-11\n"
    assert (tmp_path / "root/.ssh/authorized_keys").read_text() == "ssh-ed25519 AAAA me\n"


def test_two_hosts_have_two_host_keys(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "etc/ssh").mkdir(parents=True)
        write_identity(tmp_path / name, SPEC)
    keys = {(tmp_path / name / "etc/ssh/ssh_host_ed25519_key.pub").read_text() for name in "ab"}
    assert len(keys) == 2


def test_private_files_are_private(tmp_path: Path) -> None:
    (tmp_path / "etc/ssh").mkdir(parents=True)
    write_identity(tmp_path, SPEC)
    modes = [
        stat.S_IMODE((tmp_path / path).stat().st_mode)
        for path in ("etc/ssh/ssh_host_ed25519_key", "root/.ssh/authorized_keys", "root/.ssh")
    ]
    assert modes == [0o600, 0o600, 0o700]


def test_a_link_in_an_image_never_leads_a_write_out_of_it(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "hostname").write_text("the machine's")
    root.mkdir()
    (root / "etc").symlink_to(outside)
    with pytest.raises(HostError, match="no plain folder"):
        write(root, "etc/hostname", "stolen")
    assert (outside / "hostname").read_text() == "the machine's"


def test_a_link_in_place_of_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "resolv.conf", tmp_path / "root"
    outside.write_text("the machine's")
    (root / "etc").mkdir(parents=True)
    (root / "etc/resolv.conf").symlink_to(outside)
    write(root, "etc/resolv.conf", "the host's")
    assert outside.read_text() == "the machine's"
    assert (root / "etc/resolv.conf").read_text() == "the host's"


def test_units_learn_the_endpoint_and_the_region_and_nothing_else() -> None:
    environment = {**SPEC.environment, "AWS_DEFAULT_REGION": "us-east-1"}
    assert environment_file(environment) == (
        "AWS_ENDPOINT_URL=http://169.254.169.253:5566\nAWS_REGION=us-east-1\n"
    )


def test_a_value_that_would_add_a_line_is_refused() -> None:
    with pytest.raises(HostError, match="AWS_REGION"):
        environment_file({"AWS_REGION": "us-east-1\nLD_PRELOAD=/x"})
