"""`sglctl validate`"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit

if TYPE_CHECKING:
    from sglctl.config.finding import Finding


@dataclass(frozen=True)
class Validation:
    """What was looked at, and what was found."""

    checked: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "valid": not self.errors,
            "checked": list(self.checked),
            "errors": self.errors,
            "warnings": len(self.findings) - self.errors,
            "findings": [finding.to_json() for finding in self.findings],
        }

    def to_text(self) -> str:
        lines = [f"{finding.severity:8}{finding}" for finding in self.findings]
        warnings = len(self.findings) - self.errors
        counts = f"{_count(self.errors, 'error')}, {_count(warnings, 'warning')}"
        return "\n".join([*lines, f"{', '.join(self.checked)}: {counts}"])


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


@click.command("validate")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Every environment, model and release, not only --env and what it uses.",
)
@click.option("--strict", is_flag=True, help="Warnings are errors.")
@common
def command(context: Context, everything: bool, strict: bool) -> None:
    """Check config/ without touching anything.

    Schema, references, GPU fit (weights and the KV cache of one full context against GPU memory),
    quantization against compute capability, capacity order, warm pools, name lengths, TLS.
    Every error is printed at once, as file:line: key: message. Exit code 3 where there are errors.

    \b
    Examples:
      sglctl validate --env prod
      sglctl validate --all --output json
    """
    from sglctl.config.check import check_all, check_environments
    from sglctl.config.validate import errors_of

    if everything:
        checked, findings = check_all(context.config_dir)
    else:
        checked, findings = check_environments(context.config_dir, (context.environment,))
    emit(Validation(checked, tuple(findings)), context.output)
    if errors_of(findings) or (strict and findings):
        raise click.exceptions.Exit(3)
