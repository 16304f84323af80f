"""Every rule that spans more than one key, as findings with a place and a fix. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sglctl.config.checks_environment import check_environment
from sglctl.config.checks_fleet import check_fleet
from sglctl.config.checks_hardware import check_hardware
from sglctl.config.checks_model import check_model
from sglctl.config.checks_pairs import check_pairs
from sglctl.config.checks_routing import check_routing
from sglctl.config.desired import Desired
from sglctl.config.finding import Finding
from sglctl.config.loader import config_error


def validate(desired: Desired) -> list[Finding]:
    """Errors and warnings of one environment, in the order of files and lines."""
    return sorted(set(_all(desired)), key=lambda f: (str(f.file), f.line, f.key, f.message))


def errors_of(findings: list[Finding]) -> list[Finding]:
    """Only what forbids acting."""
    return [finding for finding in findings if finding.severity == "error"]


def require_valid(desired: Desired) -> list[Finding]:
    """The warnings; raises ConfigError with every error where there are any."""
    findings = validate(desired)
    if errors := errors_of(findings):
        raise config_error(errors)
    return findings


def _all(desired: Desired) -> Iterator[Finding]:
    yield from check_environment(desired)
    for name, model in desired.models.items():
        yield from check_model(name, model, desired.sources[f"model:{name}"])
    for name, fleet in desired.environment.fleets.items():
        yield from check_fleet(desired, name, fleet)
        yield from check_hardware(desired, name, fleet)
    yield from check_pairs(desired)
    yield from check_routing(desired)
