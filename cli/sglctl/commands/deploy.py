"""`sglctl deploy`"""

from __future__ import annotations

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit


@click.command("deploy")
@click.option("--skip-tests", is_flag=True, help="Do not run the endpoint tests at the end.")
@click.option(
    "--hosts",
    type=click.Choice(["auto", "containers", "processes"]),
    default="auto",
    show_default=True,
    help="Emulated environments: what instances become. Given for an AWS environment, "
    "it is emulated on this machine.",
)
@common
def command(context: Context, skip_tests: bool, hosts: str) -> None:
    """Validate, make images, plan, apply, wait, test: everything.

    Every step is idempotent: after a failure, run it again. For `local` the emulator is started
    first. Exit code 10 when an endpoint test fails.

    \b
    Examples:
      sglctl deploy --env local
      sglctl deploy --env prod --hosts processes   rehearse prod's own file on this machine
    """
    from sglctl.operations.deploy import deploy

    result = deploy(context, hosts=hosts, skip_tests=skip_tests)
    if result is None:
        return
    emit(result, context.output)
    if not result.passed:
        from sglctl.errors import EndpointTestError

        failed = [r for r in result.reports if not r.passed]
        raise EndpointTestError(
            "; ".join(f"{r.model}: {r.summary()}" for r in failed),
            hint=f"sglctl test --env {context.environment} runs them again",
        )
