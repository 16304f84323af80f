"""`sglctl doctor`"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit, say

if TYPE_CHECKING:
    from sglctl.doctor.tools import Finding


@dataclass(frozen=True)
class Diagnosis:
    findings: tuple[Finding, ...]
    hosts: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": all(f.ok for f in self.findings),
            "hosts": self.hosts,
            "tools": [asdict(f) for f in self.findings],
            "warnings": list(self.warnings),
        }

    def to_text(self) -> str:
        rows = [f"{f.status:8} {f.tool:16} {f.detail}" for f in self.findings]
        return "\n".join(
            [*rows, f"hosts    {self.hosts}", *(f"warning  {w}" for w in self.warnings)]
        )


@click.command("doctor")
@click.option("--install", is_flag=True, help="Install what is missing (apt needs root).")
@click.option("--quiet", is_flag=True, help="Print only what is wrong.")
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["aws", "local", "tests"]),
    default=None,
    help="What the machine is for (default: local for --env local, else aws).",
)
@common
def command(context: Context, install: bool, quiet: bool, purpose: str | None) -> None:
    """Check the tools this machine needs, and install them with --install.

    Exit code 4 when something is missing.
    """
    from sglctl.doctor import machine
    from sglctl.doctor.tools import Purpose
    from sglctl.errors import PreconditionError

    chosen = purpose or ("local" if context.environment == "local" else "aws")
    wanted: dict[str, tuple[Purpose, ...]] = {
        "aws": ("aws",),
        "local": ("aws", "local"),
        "tests": ("aws", "local", "lint", "engine"),
    }
    findings = machine.examine(wanted[chosen])
    if install and not all(f.ok for f in findings.values()):
        if context.dry_run:
            missing = [f.fix for f in findings.values() if not f.ok]
            say("Would run: " + "; ".join(sorted(set(missing))))
        else:
            machine.install(findings, say)
            findings = machine.examine(wanted[chosen])
    diagnosis = Diagnosis(tuple(findings.values()), _hosts(chosen), tuple(machine.limits()))
    bad = [f for f in findings.values() if not f.ok]
    if not quiet or context.output == "json":
        emit(diagnosis, context.output)
    if bad and not context.dry_run:
        names = ", ".join(f.tool for f in bad)
        raise PreconditionError(f"missing or too old: {names}", hint=bad[0].fix)


def _hosts(purpose: str) -> str:
    from sglctl.doctor.machine import is_root

    if purpose == "aws":
        return "EC2 instances"
    if is_root():
        return "containers (root): systemd, Ansible and testinfra are exercised"
    return "processes (no root): systemd, Ansible and testinfra are NOT exercised"
