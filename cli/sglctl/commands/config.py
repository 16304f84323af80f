"""`sglctl config`"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit, emit_raw, say

if TYPE_CHECKING:
    from sglctl.config.desired import Desired

KINDS = ("terraform", "packer", "ansible", "router", "worker")
SCHEMAS = ("environment", "model", "release", "instances")


@dataclass(frozen=True)
class Document:
    """JSON, in text as well: it is meant for files and programs."""

    content: Any

    def to_json(self) -> Any:
        return self.content

    def to_text(self) -> str:
        return json.dumps(self.content, indent=2, default=str)


@click.group("config")
def command() -> None:
    """Print the JSON Schema, or every derived artefact."""


@command.command("schema")
@click.option(
    "--kind",
    type=click.Choice(SCHEMAS),
    default="environment",
    show_default=True,
    help="Kind of file.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "markdown"]),
    default="json",
    show_default=True,
    help="JSON Schema of one kind, or the reference of them all.",
)
@common
def schema(context: Context, kind: str, form: str) -> None:
    """Print the JSON Schema of the files in config/, for editors and other programs.

    \b
    Examples:
      sglctl config schema --kind environment > environment.schema.json
      sglctl config schema --format markdown > docs/reference/config.md
    """
    from sglctl.config.reference import json_schema, markdown

    if form == "markdown":
        emit_raw(markdown())
    else:
        # The schema itself, also with --output json: a validator reads it as it is.
        emit_raw(json.dumps(json_schema(kind), indent=2))


@command.command("render")
@click.option(
    "--kind",
    type=click.Choice(["all", *KINDS]),
    default="all",
    show_default=True,
    help="What to print.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="NAME=ID",
    help="Id of an image (worker-<model> or router); may be repeated.",
)
@click.option("--emulated", is_flag=True, help="As for the emulator, not for AWS.")
@click.option("--region", metavar="REGION", help="Instead of the file's. [SGLCTL_REGION]")
@click.option("--release", metavar="ID", help="Instead of the file's. [SGLCTL_RELEASE]")
@common
def render(context: Context, kind: str, images: tuple[str, ...], emulated: bool,
           region: str | None, release: str | None) -> None:  # fmt: skip
    """Print what is derived from config/: variables and documents, as the other tools get them.

    Nothing is looked up: an image that neither --image nor the release file gives is printed as
    "<unresolved: NAME>".

    \b
    Examples:
      sglctl config render --env prod --kind router
      sglctl config render --kind terraform --image router=ami-1 --image worker-tiny=ami-2
    """
    from sglctl.config.loader import load
    from sglctl.config.validate import require_valid

    given = {"region": region, "release": release}
    overrides = {key: value for key, value in given.items() if value}
    desired = load(context.config_dir, context.environment, overrides=overrides)
    for warning in require_valid(desired):
        say(f"warning: {warning}")
    rendered = _rendered(
        desired, _parse_images(images), emulated, KINDS if kind == "all" else (kind,)
    )
    emit(Document(rendered if kind == "all" else rendered[kind]), context.output)


def _parse_images(given: tuple[str, ...]) -> dict[str, str]:
    images = {}
    for item in given:
        name, equals, image_id = item.partition("=")
        if not equals or not name or not image_id.startswith("ami-"):
            raise click.BadParameter(f"{item!r}: write NAME=ami-…", param_hint="--image")
        images[name] = image_id
    return images


def _rendered(
    desired: Desired, images: dict[str, str], emulated: bool, kinds: tuple[str, ...]
) -> dict[str, Any]:
    from sglctl.config import render as derive

    needs = derive.required_images(desired)
    names = [need.name for need in needs]
    if unknown := sorted(set(images) - set(names)):
        raise click.BadParameter(
            f"{', '.join(unknown)}: not used here; images: {', '.join(names)}", param_hint="--image"
        )
    pinned = {need.name: need.pinned for need in needs if need.pinned}
    known = derive.resolve_placeholder(names, {**pinned, **images})
    make: dict[str, Callable[[], dict[str, Any]]] = {
        "terraform": lambda: derive.render_terraform(desired, images=known, emulated=emulated),
        "packer": lambda: {need.name: derive.render_packer(desired, need) for need in needs},
        "ansible": lambda: {need.name: derive.render_ansible(desired, need) for need in needs},
        "router": lambda: derive.render_router_document(desired),
        "worker": lambda: {
            name: derive.render_fleet_document(desired, name) for name in desired.environment.fleets
        },
    }
    return {kind: make[kind]() for kind in kinds}
