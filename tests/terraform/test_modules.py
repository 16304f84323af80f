"""Format, validity and Terraform's own tests, module by module, without credentials or network."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "terraform"
MODULES = sorted(str(p.parent.relative_to(SOURCE)) for p in SOURCE.rglob("versions.tf"))

pytestmark = pytest.mark.terraform


@pytest.fixture(scope="module")
def copy(terraform_copy: Callable[[str], Path]) -> Path:
    """One copy serves all modules; each leaves its data folder in its own."""
    return terraform_copy("modules")


def test_the_tree_is_formatted(terraform_env: dict[str, str]) -> None:
    """`terraform fmt` has nothing to change."""
    result = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", "-diff", str(SOURCE)],
        env=terraform_env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_folder_with_terraform_is_tested() -> None:
    """A module without tests would pass unnoticed."""
    folders = {str(path.parent.relative_to(SOURCE)) for path in SOURCE.rglob("*.tf")}
    assert folders == set(MODULES)
    assert all(list((SOURCE / module / "tests").glob("*.tftest.hcl")) for module in MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_valid_and_its_tests_pass(
    module: str, copy: Path, terraform_in: Callable[..., Any]
) -> None:
    """Every run passes, and no run is skipped or missing."""
    folder = copy / module
    terraform = terraform_in(folder)
    terraform.run("init", "-backend=false")
    terraform.run("validate")
    report = terraform.run("test")
    runs = sum(p.read_text("utf-8").count('\nrun "') for p in (folder / "tests").glob("*.hcl"))
    assert re.search(rf"Success! {runs} passed, 0 failed\.", report), report
    shutil.rmtree(folder / ".terraform")
