"""The list of what is silent is in the documentation, word for word."""

from __future__ import annotations

import argparse
from pathlib import Path

from sglocal import cli
from sglocal.aws.silent import table

DOCUMENT = Path(__file__).parents[4] / "docs" / "reference" / "local.md"


def test_the_reference_lists_everything_that_is_silent() -> None:
    assert table() in DOCUMENT.read_text()


def test_the_reference_names_every_command() -> None:
    parser = cli._parser()
    commands = next(
        action.choices
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    text = DOCUMENT.read_text()
    assert [name for name in commands if f"| `sglocal {name}` |" not in text] == []
