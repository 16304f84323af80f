"""Check environments, or everything in `config/`, and gather the findings instead of raising."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sglctl.config.catalogue import ModelEntry
from sglctl.config.checks_model import check_model
from sglctl.config.finding import Finding
from sglctl.config.loader import InvalidConfigError, environments, load, read_file
from sglctl.config.release import Release
from sglctl.config.validate import validate

Checked = tuple[tuple[str, ...], list[Finding]]


def check_environments(config_dir: Path, names: Iterable[str]) -> Checked:
    """What was checked, and every finding once, in the order of files and lines.

    Raises ConfigError only for a name that is no environment.
    """
    checked = tuple(names)
    findings: set[Finding] = set()
    for name in checked:
        try:
            findings.update(validate(load(config_dir, name)))
        except InvalidConfigError as error:
            findings.update(error.findings)
    return tuple(f"environment {name}" for name in checked), in_order(findings)


def check_all(config_dir: Path) -> Checked:
    """Every environment, and the models and releases that none of them uses."""
    names = environments(config_dir)
    _, found = check_environments(config_dir, names)
    findings = set(found)
    models = sorted((config_dir / "models").glob("*.yaml"))
    releases = sorted((config_dir / "releases").glob("*.yaml"))
    for file in models:
        entry, parsed, wrong = read_file(file, ModelEntry)
        findings.update(wrong)
        if entry is not None:
            findings.update(check_model(file.name.removesuffix(".yaml"), entry, parsed))
    for file in releases:
        findings.update(read_file(file, Release)[2])
    return (
        f"{len(names)} environments",
        f"{len(models)} models",
        f"{len(releases)} releases",
    ), in_order(findings)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By file, then line."""
    return sorted(findings, key=lambda f: (str(f.file), f.line, f.key, f.message))
