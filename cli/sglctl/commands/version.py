"""`sglctl version`"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit


@dataclass(frozen=True)
class Versions:
    versions: dict[str, str]

    def to_json(self) -> dict[str, str]:
        return self.versions

    def to_text(self) -> str:
        return "\n".join(f"{name:16} {value}" for name, value in self.versions.items())


@click.command("version")
@common
def command(context: Context) -> None:
    """Print the versions of sglctl and of the libraries it drives."""
    packages = ("sglctl", "ansible-core", "ansible-runner", "boto3", "click", "python-terraform")
    found = {name: version(name) for name in packages}
    emit(Versions({**found, "python": platform.python_version()}), context.output)
