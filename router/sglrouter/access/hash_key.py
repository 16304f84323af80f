"""`sglrouter hash-key`: a key on stdin, its entry for the key document on stdout."""

from __future__ import annotations

import argparse
import json
import sys

from sglrouter.access.keys import digest_of
from sglrouter.errors import DocumentError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    commands.add_parser(
        "hash-key",
        help="print the entry of a key that is kept as its hash",
        description="Read a key from stdin (never from the command line, which others see) and "
        "print its entry for the key document; add bounds to it by hand.",
    )


def run() -> int:
    """Raises DocumentError when stdin holds no usable key, which is not repeated."""
    try:
        digest = digest_of(sys.stdin.readline().strip())
    except ValueError as error:
        raise DocumentError(f"the key on stdin {error}") from error
    sys.stdout.write(json.dumps({"sha256": digest.hex()}) + "\n")
    return 0
