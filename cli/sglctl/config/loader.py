"""Read `config/`: one environment and what it refers to, or every error at once.

Precedence: flag (`overrides`) > environment variable > file > default.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sglctl.config.base import ENVIRONMENT_NAME, ENVIRONMENT_NAME_LENGTH
from sglctl.config.catalogue import InstanceCatalogue, ModelEntry
from sglctl.config.desired import Desired
from sglctl.config.environment import Environment
from sglctl.config.finding import Finding
from sglctl.config.release import Release
from sglctl.config.schema_errors import findings_of
from sglctl.config.yamltext import Parsed, parse
from sglctl.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

#: Environment variable → key of the environment file it replaces.
VARIABLES: Mapping[str, str] = {
    "SGLCTL_ACCOUNT": "account",
    "SGLCTL_REGION": "region",
    "SGLCTL_RELEASE": "release",
}


def load(
    config_dir: Path,
    environment: str,
    *,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    text: str | None = None,
) -> Desired:
    """Read one environment.

    `overrides` are flags (`{"region": "eu-west-1"}`), `environ` defaults to the process's
    variables, `text` stands in for the environment file's content (an edit being checked).
    Raises ConfigError that lists every error of every file read.
    """
    reader = _Reader()
    file = environment_file(config_dir, environment)
    source = parse(text, file) if text is not None else reader.parse(file)
    changed = _replace(source, overrides or {}, os.environ if environ is None else environ)
    wanted = reader.model(changed, Environment)
    catalogue = reader.read(config_dir / "instances.yaml", InstanceCatalogue, "instances")
    models = _models(reader, config_dir, changed.data)
    release = None
    releases = _stems(config_dir / "releases")
    named = changed.data.get("release") if isinstance(changed.data, dict) else None
    if named in releases:
        release = reader.read(config_dir / "releases" / f"{named}.yaml", Release, "release")
    if wanted is None or catalogue is None or reader.findings:
        raise config_error(reader.findings)
    return Desired(
        name=environment,
        environment=wanted,
        models=models,
        known_models=_stems(config_dir / "models"),
        instances=catalogue,
        release=release,
        known_releases=releases,
        sources={**reader.sources, "environment": source},
    )


def environments(config_dir: Path) -> tuple[str, ...]:
    """Names of the environments there are."""
    return _stems(config_dir / "environments")


def environment_file(config_dir: Path, environment: str) -> Path:
    """The file of an environment; raises ConfigError for a bad or unknown name."""
    if not re.match(ENVIRONMENT_NAME, environment) or len(environment) > ENVIRONMENT_NAME_LENGTH:
        raise ConfigError(
            f"{environment!r} is not a name of an environment: {ENVIRONMENT_NAME}, "
            f"{ENVIRONMENT_NAME_LENGTH} characters at most (names of AWS resources contain it)"
        )
    file = config_dir / "environments" / f"{environment}.yaml"
    if not file.is_file():
        known = environments(config_dir)
        wrong = "is no file" if file.exists() else "does not exist"
        close = difflib.get_close_matches(environment, known, n=1)
        raise ConfigError(
            f"there is no environment {environment!r}: {file} {wrong}",
            hint=f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(known)}",
        )
    return file


class InvalidConfigError(ConfigError):
    """Files of `config/` are wrong; `findings` says each place."""

    def __init__(self, message: str, findings: list[Finding]) -> None:
        super().__init__(message)
        self.findings = findings


def config_error(findings: list[Finding]) -> InvalidConfigError:
    """One error that lists them all, in the order of files and lines."""
    ordered = sorted(findings, key=lambda finding: (str(finding.file), finding.line))
    count = f"{len(ordered)} errors" if len(ordered) > 1 else "1 error"
    return InvalidConfigError("\n  ".join([f"{count} in config/:", *map(str, ordered)]), ordered)


def read_file(file: Path, model: type[M]) -> tuple[M | None, Parsed, list[Finding]]:
    """One file by itself, its parsed text, and what is wrong with it."""
    reader = _Reader()
    found = reader.read(file, model, "file")
    return found, reader.sources["file"], reader.findings


def models_known(config_dir: Path) -> tuple[str, ...]:
    """Names of the models in the catalogue."""
    return _stems(config_dir / "models")


@dataclass
class _Reader:
    """Reads files and gathers what is wrong with them."""

    findings: list[Finding] = field(default_factory=list)
    sources: dict[str, Parsed] = field(default_factory=dict)

    def read(self, file: Path, model: type[M], role: str) -> M | None:
        parsed = self.parse(file)
        self.sources[role] = parsed
        return self.model(parsed, model)

    def parse(self, file: Path) -> Parsed:
        try:
            return parse(file.read_text(encoding="utf-8"), file)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            finding = Finding("error", file, 1, "", f"cannot be read: {reason}")
            return Parsed(file, "", None, {}, (finding,))

    def model(self, parsed: Parsed, model: type[M]) -> M | None:
        self.findings.extend(parsed.findings)
        if parsed.data is None and parsed.findings:
            return None
        if not isinstance(parsed.data, dict):
            self.findings.append(parsed.finding((), "must be a mapping of keys"))
            return None
        try:
            return model.model_validate(parsed.data)
        except ValidationError as error:
            self.findings.extend(findings_of(error, model, parsed))
            return None


def _models(reader: _Reader, config_dir: Path, data: Any) -> dict[str, ModelEntry]:
    """The models named in an environment, which itself may be wrong elsewhere."""
    fleets = data.get("fleets") if isinstance(data, dict) else None
    blocks = fleets.values() if isinstance(fleets, dict) else ()
    named = [block.get("model") for block in blocks if isinstance(block, dict)]
    found: dict[str, ModelEntry] = {}
    for name in models_known(config_dir):
        if name in named:
            file = config_dir / "models" / f"{name}.yaml"
            if model := reader.read(file, ModelEntry, f"model:{name}"):
                found[name] = model
    return found


def _replace(
    parsed: Parsed, overrides: Mapping[str, str], environ: Mapping[str, str]
) -> Parsed:  # fmt: skip
    """The document with the keys that flags and variables give."""
    if not isinstance(parsed.data, dict):
        return parsed
    given: dict[str, Any] = {
        key: environ[variable] for variable, key in VARIABLES.items() if environ.get(variable)
    }
    given.update(overrides)
    data = {**parsed.data, **given}
    return Parsed(parsed.file, parsed.text, data, parsed.places, parsed.findings)


def _stems(folder: Path) -> tuple[str, ...]:
    return tuple(
        sorted(path.name.removesuffix(".yaml") for path in folder.glob("*.yaml") if path.is_file())
    )
