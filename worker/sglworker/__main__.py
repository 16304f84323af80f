"""`sglworker agent|engine|state|drain|undrain|version`.

Exit codes: 0 done, 1 error, 2 wrong usage, 3 a drain's wait (or a wrong document: see
sglworker.errors), 4 nothing to boot from.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from sglworker.client import Client
from sglworker.errors import WorkerError
from sglworker.files import Files

_WAIT_PASSED = 3


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; every error is one line on stderr."""
    given = _parser().parse_args(argv)
    try:
        code = _COMMANDS[given.command](given)
    except WorkerError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        code = error.exit_code
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sglworker", description="The agent beside each engine.")
    add = parser.add_subparsers(dest="command", required=True, metavar="COMMAND").add_parser
    add("agent", help="Bring the worker up, tell its state, drain it (a service).")
    add("engine", help="Become the engine that the agent wrote down (a service).")
    add("state", help="Print the worker's state as JSON.")
    drain = add("drain", help="Take no new requests; finish those in flight.")
    drain.add_argument(
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        help="wait until drained; exit 3 if it takes longer",
    )
    drain.add_argument(
        "--deadline",
        type=_seconds,
        metavar="SECONDS",
        help="give up on requests in flight (default: the fleet's)",
    )
    add("undrain", help="Take new requests again.")
    add("version", help="Print the version.")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 172_800:
        raise argparse.ArgumentTypeError(f"{text}: expected seconds from 0 to 172800")
    return value


def _agent(_given: argparse.Namespace) -> int:
    from sglworker.agent import Agent

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    files = Files.from_environment()
    agent = Agent(files, files.host_document())
    try:
        asyncio.run(agent.run())
    except OSError as error:
        raise WorkerError(f"the agent cannot listen: {error}") from error
    return 0


def _engine(_given: argparse.Namespace) -> int:
    files = Files.from_environment()
    command = files.read_engine()
    try:
        Client(files).engine_started(os.getpid())  # the process id stays
    except WorkerError as error:  # an agent that restarts just now: the engine starts all the same
        print(f"Warning: the agent is not told of this start: {error}", file=sys.stderr)  # noqa: T201
    try:
        os.execvpe(command.argv[0], list(command.argv), os.environ | command.environment)  # noqa: S606
    except OSError as error:
        raise WorkerError(f"cannot run {command.argv[0]}: {error.strerror}") from error


def _state(_given: argparse.Namespace) -> int:
    _print(Client(Files.from_environment()).state().model_dump_json(indent=1))
    return 0


def _drain(given: argparse.Namespace) -> int:
    client = Client(Files.from_environment())
    state = client.drain(given.deadline)
    if given.wait is not None:
        drained = client.wait_drained(given.wait)
        if drained is None:
            print(f"Error: not drained within {given.wait:g} s", file=sys.stderr)  # noqa: T201
            return _WAIT_PASSED
        state = drained
    _print(state.model_dump_json(indent=1))
    return 0


def _undrain(_given: argparse.Namespace) -> int:
    _print(Client(Files.from_environment()).undrain().model_dump_json(indent=1))
    return 0


def _version(_given: argparse.Namespace) -> int:
    try:
        _print(version("sglctl"))
    except PackageNotFoundError:
        _print("unknown")
    return 0


def _print(text: str) -> None:
    print(text)  # noqa: T201


_COMMANDS = {
    "agent": _agent,
    "engine": _engine,
    "state": _state,
    "drain": _drain,
    "undrain": _undrain,
    "version": _version,
}


if __name__ == "__main__":
    main()
