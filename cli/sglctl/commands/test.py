"""`sglctl test`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit, say

if TYPE_CHECKING:
    from sglctl.endpoint import CheckResult, Target


@click.command("test")
@click.option("--url", metavar="URL", help="Test this endpoint instead of the environment's.")
@click.option(
    "--api-key",
    envvar="SGLCTL_API_KEY",
    metavar="KEY",
    help="Key to send. [SGLCTL_API_KEY; of an environment: its secret]",
)
@click.option("--model", metavar="NAME", help="Model to ask for (default: every model served).")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Trust this certificate authority (PEM).",
)
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write JUnit XML to this file.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait of one request.",
)
@common
def command(context: Context, url: str | None, api_key: str | None, model: str | None,
            ca_file: Path | None, junit: Path | None, timeout_s: float) -> None:  # fmt: skip
    """Test the endpoint as its clients would use it.

    Health, models, chat, completion, streaming, errors, constrained output, shared prefix,
    long context, cancellation, concurrent streams. Works against any OpenAI-compatible URL;
    what an endpoint does not offer is skipped, with the reason. Exit code 10 on any failure.

    \b
    Examples:
      sglctl test --env local
      sglctl test --url https://llm.example.com --api-key "$KEY" --junit report.xml
    """
    from sglctl.endpoint import Reports, run_suite

    if context.dry_run:
        from sglctl.endpoint.suite import CHECKS

        say("Would run: " + ", ".join(CHECKS))
        return
    found = _targets(context, url, api_key, model, ca_file, timeout_s)
    progress = _progress if context.output == "json" else None
    reports = Reports(tuple(run_suite(target, progress=progress) for target in found))
    if junit is not None:
        junit.write_text(reports.to_junit(), encoding="utf-8")
    emit(reports, context.output)
    if not reports.passed:
        from sglctl.errors import EndpointTestError

        raise EndpointTestError(reports.summary())


def _targets(
    context: Context,
    url: str | None,
    api_key: str | None,
    model: str | None,
    ca_file: Path | None,
    timeout_s: float,
) -> list[Target]:
    from dataclasses import replace

    from sglctl.endpoint import Target

    if url is not None:
        return [Target(url, api_key, model, ca_file, timeout_s)]
    from sglctl.operations.target import environment_targets

    found = environment_targets(context)
    if model is not None:
        found = [replace(found[0], model=model)]
    return [
        replace(
            target,
            api_key=api_key or target.api_key,
            ca_file=ca_file or target.ca_file,
            timeout_s=timeout_s,
        )
        for target in found
    ]


def _progress(result: CheckResult) -> None:
    say(f"{result.status}: {result.name}")
