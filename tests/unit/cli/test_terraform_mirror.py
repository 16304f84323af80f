"""Where providers come from, in folders made for the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from sglctl.errors import PreconditionError
from sglctl.terraform.mirror import VARIABLE, find_mirror, machine, packages, write_cli_config

HOST = "providers.example"


def unpacked(folder: Path, platform: str | None = None) -> Path:
    place = folder / HOST / "hashicorp" / "aws" / "5.100.0" / (platform or machine())
    place.mkdir(parents=True)
    (place / "terraform-provider-aws_v5.100.0_x5").touch()
    return folder


def packed(folder: Path) -> Path:
    place = folder / HOST / "hashicorp" / "aws"
    place.mkdir(parents=True)
    (place / f"terraform-provider-aws_5.100.0_{machine()}.zip").touch()
    return folder


def test_a_mirror_below_a_searched_folder_is_found(tmp_path: Path) -> None:
    mirror = unpacked(tmp_path / "base" / "mirror")
    assert find_mirror({}, implied=(), searched=(str(tmp_path / "base"),)) == mirror


def test_a_packed_mirror_counts_too(tmp_path: Path) -> None:
    mirror = packed(tmp_path / "base" / "mirror")
    assert find_mirror({}, implied=(str(mirror),), searched=()) == mirror


def test_another_platforms_provider_is_no_mirror_for_this_one(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "mirror", platform="plan9_mips")
    assert packages(folder) == []
    assert find_mirror({}, implied=(str(folder),), searched=()) is None


def test_the_variable_wins(tmp_path: Path) -> None:
    named = unpacked(tmp_path / "named")
    other = unpacked(tmp_path / "other")
    assert find_mirror({VARIABLE: str(named)}, implied=(str(other),), searched=()) == named


def test_a_variable_that_names_no_mirror_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="holds no hashicorp/aws provider"):
        find_mirror({VARIABLE: str(tmp_path)}, implied=(), searched=())


def test_what_the_mirror_has_is_asked_nowhere_else(tmp_path: Path) -> None:
    """Terraform merges versions of every source, so the registry must be excluded."""
    mirror = unpacked(tmp_path / "mirror")
    environ = {VARIABLE: str(mirror), "TF_CLI_CONFIG_FILE": str(tmp_path / "missing")}
    file = write_cli_config(tmp_path / "state", environ)
    text = file.read_text()
    assert file.parent == tmp_path / "state"
    assert text.count(f'["{HOST}/hashicorp/aws"]') == 2
    assert "disable_checkpoint = true" in text


def test_a_configuration_of_the_users_own_stays_in_force(tmp_path: Path) -> None:
    own = tmp_path / "own.tfrc"
    own.touch()
    assert write_cli_config(tmp_path / "state", {"TF_CLI_CONFIG_FILE": str(own)}) == own
