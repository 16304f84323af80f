"""Commands as their users run them: help, exit codes, one clear message, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sglctl.main import COMMANDS, cli
from sglctl.operations import reference

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The configuration and modules alone, to be edited freely."""
    for name in ("config", "terraform"):
        shutil.copytree(ROOT / name, tmp_path / "checkout" / name)
    return tmp_path / "checkout"


def sglctl(checkout: Path, *args: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SGLCTL_"))}
    env = {
        **kept,
        "SGLCTL_ROOT": str(checkout),
        "SGLCTL_STATE_DIR": str(checkout.parent / "state"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    return subprocess.run(
        [sys.executable, "-m", "sglctl", *args], env=env, cwd=checkout, timeout=60,
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_reference_is_what_the_commands_say() -> None:
    """Every command, option and exit code is documented."""
    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    expected = reference.render()
    assert text == expected, "python -m sglctl.operations.reference > docs/reference/cli.md"


def test_every_exit_code_has_a_meaning() -> None:
    codes = reference.exit_codes()
    assert set(codes) == {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130}
    assert all(codes.values())


def test_help_imports_nothing_heavy() -> None:
    """Start-up under 150 ms rests on this."""
    code = (
        "import sys, sglctl.main\n"
        "heavy = {'boto3', 'botocore', 'rich', 'pydantic', 'httpx', 'yaml', 'ansible_runner',"
        " 'python_terraform', 'ruamel'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_commands_help_imports_no_aws(name: str) -> None:
    """Help and completion of one command stay quick too."""
    code = (
        f"import sys, importlib; importlib.import_module('sglctl.commands.{name}')\n"
        "print(sorted({'boto3', 'botocore', 'rich', 'ansible_runner'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_exists_and_explains_itself(name: str) -> None:
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert command.help


@pytest.mark.parametrize(
    ("args", "code", "parts"),
    [
        (["plan", "--env", "nowhere"], 3, ["there is no environment 'nowhere'", "try: "]),
        (["plan", "--env", "local"], 4, ["not running on this machine", "sglctl local up"]),
        (["plan", "--env", "dev"], 4, ["no usable AWS credentials", "AWS_PROFILE"]),
        (["apply", "--env", "prod", "--yes"], 4, ["no usable AWS credentials"]),
        (["apply", "missing.plan"], 2, ["missing.plan"]),
        (["scale"], 2, ["give one of --min"]),
        (["scale", "--min", "-1"], 3, ["capacity.min", "greater than or equal to 0, not -1"]),
        (["scale", "--env", "prod", "--min", "2"], 4, ["several fleets", "chat, reason"]),
        (["scale", "--fleet", "nope", "--min", "2"], 4, ["no fleet 'nope'", "chat"]),
        (["scale", "--min", "9", "--max", "3"], 3, ["config/environments/local.yaml"]),
        (["scale", "--warm-min", "1"], 3, ["warm_pool"]),
        (["status"], 4, ["not running on this machine"]),
        (["status", "--watch"], 4, ["not running on this machine"]),
        (["status", "--watch", "--show-key"], 2, ["exclude each other"]),
        (["local", "env"], 11, ["no emulator runs"]),
        (["depoly"], 2, ["Did you mean 'deploy'?"]),
        (["deploy", "--hosts", "vms"], 2, ["vms"]),
        (["completion", "tcsh"], 2, ["tcsh"]),
        (["events", "--since", "lately"], 2, ["'lately': write 90s, 30m, 2h, 7d"]),
        (["workers", "drain"], 2, ["ID..."]),
        (["workers", "list", "--state", "busy"], 2, ["'busy' is none of booting"]),
        (["workers", "drain", "i-1"], 4, ["not running on this machine"]),
    ],
)
def test_bad_input_gets_one_clear_message(
    checkout: Path, args: list[str], code: int, parts: list[str]
) -> None:
    done = sglctl(checkout, *args)
    assert done.returncode == code, done.stderr
    assert all(part in done.stderr for part in parts), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_the_shell_asked_for(checkout: Path, shell: str) -> None:
    done = sglctl(checkout, "completion", shell)
    assert done.returncode == 0
    assert f"_SGLCTL_COMPLETE={shell}_complete" in done.stdout


def test_destroying_nothing_is_no_error(checkout: Path) -> None:
    done = sglctl(checkout, "destroy", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "local: nothing to destroy."


def test_a_dry_run_of_deploy_starts_nothing(checkout: Path) -> None:
    done = sglctl(checkout, "deploy", "--dry-run", "--hosts", "processes")
    assert done.returncode == 0, done.stderr
    assert "Would start the emulator" in done.stderr
    assert not (checkout.parent / "state").exists()


def test_an_unknown_key_is_named_with_its_line(checkout: Path) -> None:
    file = checkout / "config" / "environments" / "local.yaml"
    file.write_text(file.read_text() + "\nfleet: {}\n")
    done = sglctl(checkout, "deploy", "--dry-run")
    assert done.returncode == 3
    assert "config/environments/local.yaml:" in done.stderr
    assert "fleets" in done.stderr


def test_a_dry_run_of_scale_shows_the_difference_and_keeps_the_file(checkout: Path) -> None:
    """Before anything runs there is nothing to scale, and the file stays as it is."""
    file = checkout / "config" / "environments" / "local.yaml"
    before = file.read_text()
    done = sglctl(checkout, "scale", "--min", "2", "--dry-run")
    assert "-    capacity: {min: 1, max: 4, desired: 1}" in done.stderr
    assert "+    capacity: {min: 2, max: 4, desired: 2}" in done.stderr
    assert done.returncode == 4
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("args", "code", "key"),
    [
        (["plan"], 4, "error"),
        (["scale"], 2, "error"),
        (["validate", "--env", "nowhere"], 3, "error"),
        (["local", "env"], 11, "error"),
        (["destroy"], 0, "result"),
        (["destroy", "--dry-run"], 0, "result"),
        (["deploy", "--dry-run", "--hosts", "processes"], 0, "result"),
        (["local", "down"], 0, "result"),
        (["local", "down", "--dry-run"], 0, "result"),
        (["local", "status"], 0, "result"),
        (["test", "--dry-run"], 0, "result"),
        (["events", "--source", "sglctl"], 0, "result"),
        (["version"], 0, "result"),
    ],
)
def test_json_is_one_document_also_of_failures_and_dry_runs(
    checkout: Path, args: list[str], code: int, key: str
) -> None:
    done = sglctl(checkout, *args, "--output", "json")
    assert done.returncode == code, done.stderr
    document = json.loads(done.stdout)
    assert sorted(document) == sorted(["version", key])
    if key == "error":
        assert document["error"]["exit_code"] == code
        assert document["error"]["message"] in done.stderr


def test_outside_a_repository_json_is_a_document_too(checkout: Path) -> None:
    done = sglctl(checkout, "--root", str(checkout.parent), "plan", "--output", "json")
    assert done.returncode == 4
    assert "no sglctl repository" in json.loads(done.stdout)["error"]["message"]


def test_an_unknown_output_in_the_environment_is_refused(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGLCTL_ROOT", str(checkout))
    monkeypatch.setenv("SGLCTL_OUTPUT", "yaml")
    done = CliRunner().invoke(cli, ["version"])
    assert done.exit_code == 2
    assert "SGLCTL_OUTPUT is 'yaml'" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_not_called_a_bug(checkout: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sglctl", "--root", str(checkout), "version"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 4
    assert "the disk is full" in done.stderr
    assert "bug" not in done.stderr
