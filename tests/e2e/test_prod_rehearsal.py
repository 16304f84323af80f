"""`make deploy ENV=prod` from prod's own file, against the emulator."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.e2e.harness import Sglctl, copy_checkout, emulator_log, leftovers

pytestmark = pytest.mark.timeout(1200)


def test_prod_deploys_from_its_own_file_against_the_emulator(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """TLS, two fleets, Spot, a warm pool, the account guard: nothing is first run in prod."""
    state = tmp_path_factory.mktemp("prod-state")
    prod = Sglctl(
        copy_checkout(tmp_path_factory.mktemp("prod"), link_venv=False), state, "prod", {}
    )
    try:
        prod.run("local", "up", "--hosts", "processes")
        done = subprocess.run(
            ["make", "--no-print-directory", "deploy", "ENV=prod"],
            cwd=prod.root, env=prod.env(), capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, (
            done.stdout[-3000:] + done.stderr[-3000:] + emulator_log(prod, 60)
        )
        assert len(re.findall(r"\d+ passed, 0 failed, 0 skipped", done.stdout)) == 2
        prod.run("plan", expect=0)
        prod.run("destroy", "--yes")
        assert leftovers(state, None) == {}
    finally:
        prod.run("local", "down", expect=None, timeout_s=120)


def test_credentials_of_another_account_are_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """An emulator of another account stands for another account."""
    state = tmp_path_factory.mktemp("guard-state")
    root = copy_checkout(tmp_path_factory.mktemp("guard"))
    other = Sglctl(root, state, "local", {})
    try:
        other.run("local", "up", "--hosts", "processes")
        where = json.loads((state / "local" / "local" / "endpoint.json").read_text())
        prod = Sglctl(root, state, "prod", {"AWS_ENDPOINT_URL": where["endpoint"]})
        refused = prod.run("plan", expect=4)
        assert "account guard" in refused.stderr
    finally:
        other.run("local", "down", expect=None, timeout_s=120)
