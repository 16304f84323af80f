"""`sglctl destroy`"""

from __future__ import annotations

import click

from sglctl.context import Context
from sglctl.options import common
from sglctl.output import emit


@click.command("destroy")
@common
def command(context: Context) -> None:
    """Remove an environment.

    Workers drain first, as long as their fleet's drain deadline. An emulated environment's
    emulator is removed as well. Images and the state bucket stay. Asks for the environment's
    name unless --yes. Destroying nothing is no error.
    """
    from sglctl.operations.destroy import destroy

    result = destroy(context)
    if result is not None:
        emit(result, context.output)
