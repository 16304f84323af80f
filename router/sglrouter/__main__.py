"""`sglrouter serve`: run a router; `sglrouter hash-key`: an entry for its key document."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from sglrouter.access import hash_key
from sglrouter.errors import DocumentError, RouterError
from sglrouter.fleet.discovery import HOST_ADDRESS
from sglrouter.models import ANY_MODEL, PolicyName, RouterDocument, parse_document, problems

DESCRIPTION = """\
Run a router until SIGTERM, which drains it. SIGHUP reads the document again.
The document comes from a file, from the instance's environment, or from flags alone;
a flag comes before the document."""
EPILOG = """\
examples:
  sglrouter serve --worker http://10.0.0.11:30000 --worker http://10.0.0.12:30000
  sglrouter serve --listen 0.0.0.0:8000 --admin-listen 127.0.0.1:8001 --processes 4 \\
      --policy prefix_aware --queue 1000 --key-file keys.json --worker http://10.0.0.11:30000
  sglrouter serve --config router.yaml

  curl http://127.0.0.1:8000/v1/models      what is served
  curl http://127.0.0.1:8001/workers        who serves it
  kill -HUP PID                             read router.yaml again"""


def _count(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: write a number from {least} to {most}")
        return int(text)

    return number


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="sglrouter", description="The request router of sglctl.")
    commands = top.add_subparsers(dest="command", required=True)
    hash_key.register(commands)
    serve = commands.add_parser(
        "serve",
        help="run a router until SIGTERM",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    origin = serve.add_mutually_exclusive_group()
    origin.add_argument("--config", metavar="FILE", help="the router's document, YAML or JSON")
    origin.add_argument(
        "--from-instance",
        action="store_true",
        help="user data names the environment, SSM holds its document",
    )
    serve.add_argument(
        "--listen", metavar="HOST:PORT", help="where clients connect (127.0.0.1:8000)"
    )
    serve.add_argument(
        "--admin-listen", metavar="HOST:PORT", help="metrics and workers (127.0.0.1:8001)"
    )
    serve.add_argument(
        "--worker",
        metavar="URL",
        action="append",
        default=[],
        help="an engine, http://HOST:PORT, instead of a document; repeat for more",
    )
    serve.add_argument("--policy", choices=get_args(PolicyName), help="how workers are chosen")
    serve.add_argument(
        "--processes",
        metavar="N",
        type=_count(1, 64),
        help="processes that share the port and one view of the workers (1)",
    )
    serve.add_argument(
        "--queue",
        metavar="N",
        type=_count(0, 100_000),
        help="requests of a fleet that may wait while all its workers are full (512)",
    )
    serve.add_argument("--key-file", metavar="FILE", help='API keys: {"<name>": "<key>"}')
    return top


def _host_port(text: str, flag: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise DocumentError(f"{flag} {text!r}: write HOST:PORT")
    return host.strip("[]"), int(port)


def _base(arguments: argparse.Namespace, again: bool) -> RouterDocument:
    if arguments.from_instance:
        from sglrouter.instance import BOOT_DEADLINE_S, RELOAD_DEADLINE_S, document_from_instance

        return document_from_instance(deadline_s=RELOAD_DEADLINE_S if again else BOOT_DEADLINE_S)
    if arguments.config:
        path = Path(arguments.config)
        try:
            return parse_document(path.read_text(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise DocumentError(f"{path}: cannot be read: {error}") from error
    if not arguments.worker:
        raise DocumentError("say which workers: --config FILE, --from-instance or --worker URL")
    return RouterDocument.model_validate(
        {
            "environment": "local",
            "fleets": {"default": {"models": [ANY_MODEL]}},
            "listen": {"host": "127.0.0.1", "admin_host": "127.0.0.1"},
            "discovery": {
                "kind": "static",
                "workers": [{"url": url, "fleet": "default"} for url in arguments.worker],
            },
        }
    )


def document_of(arguments: argparse.Namespace, again: bool = False) -> RouterDocument:
    """The document the flags ask for: flag over environment variable over document.

    `again`: for a router that runs. Raises DocumentError, StartError. Blocks.
    """
    try:
        document = _base(arguments, again)
    except ValidationError as error:
        raise DocumentError(f"--worker: {problems(error)}") from error
    if arguments.worker and (arguments.config or arguments.from_instance):
        raise DocumentError("--worker is for a router without a document; write it in the document")
    listen = document.listen.model_dump()
    own_address = os.environ.get(HOST_ADDRESS)
    if own_address:
        listen["host"] = listen["admin_host"] = own_address
    if arguments.listen:
        listen["host"], listen["port"] = _host_port(arguments.listen, "--listen")
    if arguments.admin_listen:
        listen["admin_host"], listen["admin_port"] = _host_port(
            arguments.admin_listen, "--admin-listen"
        )
    if arguments.processes is not None:
        listen["processes"] = arguments.processes
    data = {**document.model_dump(), "listen": listen}
    if arguments.queue is not None:
        for fleet in data["fleets"].values():
            fleet["queue"]["size"] = arguments.queue
    if arguments.policy:
        data["policy"] = arguments.policy
    if arguments.key_file:
        # Flags alone: no load balancer writes X-Forwarded-For, and a client that does would have
        # another address for each wrong key.
        keys = data["keys"] or {"forwarded_for": not arguments.worker}
        data["keys"] = {**keys, "secret": None, "file": arguments.key_file}
    return RouterDocument.model_validate(data)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the router runs: it would end here
    try:
        if arguments.command == "hash-key":
            return hash_key.run()
        document = document_of(arguments)
        import uvloop

        from sglrouter.service import serve

        uvloop.run(serve(document, lambda: document_of(arguments, again=True)))
    except RouterError as error:
        sys.stderr.write(f"sglrouter: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
