"""`python -m sglocal` and the `sglocal` command."""

from __future__ import annotations

import sys

from sglocal import cli


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(cli.main())


if __name__ == "__main__":
    main()
