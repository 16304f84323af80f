"""`make lint`: every check, one line each, the output of those that failed.

`python -m sglctl.lint` from the repository's root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

_TIMEOUT_S = 600


def commands(root: Path) -> dict[str, list[str]]:
    """Name → command line. Programs of the virtual environment stand beside Python."""
    bin_dir = Path(sys.executable).parent
    shell = sorted(str(p.relative_to(root)) for p in tracked(root, "*.sh", ".ci/run"))
    workflows = sorted(str(p.relative_to(root)) for p in tracked(root, ".github/workflows/*.yml"))
    return {
        "ruff format": [str(bin_dir / "ruff"), "format", "--check", "."],
        "ruff check": [str(bin_dir / "ruff"), "check", "."],
        "mypy --strict": [str(bin_dir / "mypy")],
        "import-linter": [str(bin_dir / "lint-imports"), "--no-cache"],
        "ansible-lint": [
            *(str(bin_dir / "ansible-lint"), "--offline", "--profile", "production"),
            *("-q", "ansible"),
        ],
        "terraform fmt": ["terraform", "fmt", "-check", "-recursive", "terraform"],
        "shellcheck": ["shellcheck", *shell],
        "workflow schema": [
            str(bin_dir / "check-jsonschema"),
            "--builtin-schema",
            "vendor.github-workflows",
            *workflows,
        ],
    }


def tracked(root: Path, *patterns: str) -> list[Path]:
    """Files of ours (tracked, or new and not ignored) that match."""
    result = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=root, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [root / line for line in result.stdout.splitlines()]


def run(root: Path) -> int:
    """Run every check; the number that failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as home:
        bin_dir = Path(sys.executable).parent
        env = {
            **os.environ,
            "ANSIBLE_CONFIG": str(root / "ansible/ansible.cfg"),
            "ANSIBLE_HOME": home,
            "PATH": f"{bin_dir}:{os.environ.get('PATH', '')}",
            "NO_COLOR": "1",
        }
        env.pop("TF_CLI_CONFIG_FILE", None)
        for name, command in commands(root).items():
            failed += not _run_one(name, command, root, env)
    return failed


def _run_one(name: str, command: list[str], root: Path, env: dict[str, str]) -> bool:
    started = time.monotonic()
    if shutil.which(command[0], path=env["PATH"]) is None:
        click.echo(f"FAIL  {name}: {command[0]} is not installed (sglctl doctor --for tests)")
        return False
    result = subprocess.run(
        command, cwd=root, env=env, capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    good = result.returncode == 0
    click.echo(f"{'ok  ' if good else 'FAIL'}  {name:16} {time.monotonic() - started:5.1f} s")
    if not good:
        click.echo(result.stdout + result.stderr)
    return good


if __name__ == "__main__":
    sys.exit(1 if run(Path.cwd()) else 0)
