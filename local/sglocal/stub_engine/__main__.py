"""`python -m sglocal.stub_engine --model-path … --served-model-name … --port …`."""

from __future__ import annotations

import asyncio
import logging
import sys

from sglocal.stub_engine.app import serve
from sglocal.stub_engine.options import parse_options


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options = parse_options(sys.argv[1:])
    try:
        asyncio.run(serve(options))
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
