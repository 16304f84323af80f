"""Terraform runs in copies of `terraform/`: no lock file or data folder lands in the tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sglctl.terraform import mirror

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "terraform"
TIMEOUT_S = 280


@dataclass(frozen=True)
class Terraform:
    """One root or module folder of a copy; `variables` is passed to plan, apply and destroy."""

    folder: Path
    env: Mapping[str, str]
    variables: Path | None = None

    def run(self, *args: str, expect: int = 0) -> str:
        """Standard output; fails with all of it when the exit code is not `expect`."""
        takes_variables = self.variables is not None and args[0] in ("plan", "apply", "destroy")
        extra = [f"-var-file={self.variables}"] if takes_variables else []
        result = subprocess.run(
            ["terraform", *args, *extra], cwd=self.folder, env=dict(self.env),
            capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if result.returncode != expect:
            pytest.fail(
                f"terraform {' '.join(args)}: exit {result.returncode}, expected {expect}\n"
                f"{result.stdout[-8000:]}\n{result.stderr[-4000:]}"
            )
        return result.stdout

    def output(self) -> dict[str, Any]:
        """Values of the root module's outputs."""
        return {
            name: each["value"] for name, each in json.loads(self.run("output", "-json")).items()
        }


@pytest.fixture(scope="session")
def terraform_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Terraform process: this machine's mirror, nobody's credentials."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed: run `sglctl doctor`")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TF_"))}
    file = mirror.write_cli_config(tmp_path_factory.mktemp("cli"), os.environ)
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SECRET_ACCESS_KEY": "test",
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_ARGS": "-no-color",
        "TF_CLI_CONFIG_FILE": str(file),
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
    }


@pytest.fixture(scope="session")
def terraform_copy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that copies the Terraform tree, without what runs left in it, to a new folder."""

    def copy(name: str) -> Path:
        ignore = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfplan")
        return Path(
            shutil.copytree(SOURCE, tmp_path_factory.mktemp(name) / "terraform", ignore=ignore)
        )

    return copy


@pytest.fixture(scope="session")
def terraform_in(terraform_env: dict[str, str]) -> Callable[..., Terraform]:
    """A function that makes a `Terraform` for a folder; keywords are environment variables."""

    def make(folder: Path, variables: Path | None = None, **env: str) -> Terraform:
        return Terraform(folder, {**terraform_env, **env}, variables)

    return make
