"""`sglrouter serve`: run a router."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from sglrouter.errors import DocumentError, RouterError
from sglrouter.fleet.discovery import HOST_ADDRESS
from sglrouter.models import ANY_MODEL, PolicyName, RouterDocument, parse_document, problems


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="sglrouter", description="The request router of sglctl.")
    commands = top.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="run a router until SIGTERM",
        description="Run a router until SIGTERM. The document comes from a file, from the "
        "instance's environment, or from flags alone.",
    )
    origin = serve.add_mutually_exclusive_group()
    origin.add_argument("--config", metavar="FILE", help="the router's document, YAML or JSON")
    origin.add_argument(
        "--from-instance",
        action="store_true",
        help="user data names the environment, SSM holds its document",
    )
    serve.add_argument("--listen", metavar="HOST:PORT", help="where clients connect")
    serve.add_argument("--admin-listen", metavar="HOST:PORT", help="metrics and workers")
    serve.add_argument(
        "--worker",
        metavar="URL",
        action="append",
        default=[],
        help="an engine, http://HOST:PORT, instead of a document; repeat for more",
    )
    serve.add_argument("--policy", choices=get_args(PolicyName), help="how workers are chosen")
    serve.add_argument("--key-file", metavar="FILE", help='API keys: {"<name>": "<key>"}')
    return top


def _host_port(text: str, flag: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise DocumentError(f"{flag} {text!r}: write HOST:PORT")
    return host.strip("[]"), int(port)


def _base(arguments: argparse.Namespace) -> RouterDocument:
    if arguments.from_instance:
        from sglrouter.instance import document_from_instance

        return document_from_instance()
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


def document_of(arguments: argparse.Namespace) -> RouterDocument:
    """The document the flags ask for: flag over environment variable over document."""
    try:
        document = _base(arguments)
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
    data = {**document.model_dump(), "listen": listen}
    if arguments.policy:
        data["policy"] = arguments.policy
    if arguments.key_file:
        data["keys"] = {"file": arguments.key_file}
    return RouterDocument.model_validate(data)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        document = document_of(arguments)
        import uvloop

        from sglrouter.service import serve

        uvloop.run(serve(document))
    except RouterError as error:
        sys.stderr.write(f"sglrouter: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
