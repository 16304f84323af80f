"""`sglctl status`"""

from __future__ import annotations

from dataclasses import dataclass

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit


@dataclass(frozen=True)
class ApiKey:
    key: str

    def to_json(self) -> dict[str, str]:
        return {"key": self.key}

    def to_text(self) -> str:
        return self.key


@click.command("status")
@click.option("--show-key", is_flag=True, help="Print only the first API key.")
@common
def command(context: Context, show_key: bool) -> None:
    """Show fleets, workers and routers.

    Groups as Auto Scaling has them, routers as the load balancer sees them, workers as their own
    agents say (asked by Run Command).
    """
    from sglctl.config.loader import load
    from sglctl.errors import PreconditionError
    from sglctl.operations.status import look
    from sglctl.operations.target import api_key
    from sglctl.operations.workspace import connected

    desired = load(context.config_dir, context.environment)
    session = connected(context, desired)
    if show_key:
        key = api_key(session, context.environment)
        if key is None:
            raise PreconditionError(
                f"{context.environment} has no API key yet",
                hint=f"sglctl deploy --env {context.environment} makes one",
            )
        emit(ApiKey(key), context.output)
        return
    emit(look(context, desired, session), context.output)
