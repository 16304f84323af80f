"""`sglctl completion`"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from sglctl.output import emit_raw

_WHERE = {
    "bash": "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/completions/sglctl.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(sorted(_WHERE)))
def command(shell: str) -> None:
    """Print shell completion for bash, zsh or fish.

    \b
    Examples:
      eval "$(sglctl completion bash)"          this shell
      sglctl completion fish > ~/.config/fish/completions/sglctl.fish
    """
    from sglctl.main import cli

    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - click knows all three
        raise click.UsageError(f"click has no completion for {shell}")
    emit_raw(kind(cli, {}, "sglctl", "_SGLCTL_COMPLETE").source())
