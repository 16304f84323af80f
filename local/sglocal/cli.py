"""The command line: sglocal up | down | status | logs | serve."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sglocal import daemon
from sglocal.errors import LocalError
from sglocal.hosts.driver import HostError
from sglocal.hosts.kept_logs import ended_hosts, kept_log
from sglocal.hosts.names import checked_id
from sglocal.state import StateDir, UpSettings

DEFAULT_PORT = 5566


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 error (one line on stderr), 130 interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (LocalError, HostError) as error:
        sys.stderr.write(f"sglocal: error: {error}\n")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # the machine's: a full disk, a folder of somebody else
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"sglocal: error: {where}{error.strerror or error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("sglocal: interrupted\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sglocal", description="AWS on one machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("up", _up, "start the emulator and return when it answers"),
        ("serve", _serve, "run the emulator in this process"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        _add_settings(command)
        if run is _serve:  # the daemon's lock, inherited from `up`
            command.add_argument("--lock", type=int, help=argparse.SUPPRESS)
        command.set_defaults(run=run)
    command = commands.add_parser("down", help="remove everything the emulator made")
    _add_state(command)
    command.set_defaults(run=_down)
    command = commands.add_parser("status", help="hosts, load balancers and images")
    _add_state(command)
    command.add_argument("--json", action="store_true", help="the whole document")
    command.set_defaults(run=_status)
    command = commands.add_parser("logs", help="what the emulator or a host logged")
    _add_state(command)
    command.add_argument("host", nargs="?", help="instance id; default: the emulator itself")
    command.add_argument("--follow", "-f", action="store_true", help="go on until interrupted")
    command.add_argument("--lines", "-n", type=int, default=50, help="lines to begin with")
    command.set_defaults(run=_logs)
    return parser


def _add_state(command: argparse.ArgumentParser) -> None:
    command.add_argument("--state-dir", type=Path, required=True, metavar="DIR")


def _add_settings(command: argparse.ArgumentParser) -> None:
    _add_state(command)
    command.add_argument("--cache-dir", type=Path, required=True, metavar="DIR")
    command.add_argument("--hosts", choices=("containers", "processes"), required=True)
    command.add_argument("--account", type=_account, required=True, metavar="ID")
    command.add_argument("--region", type=_region, required=True, metavar="R")
    command.add_argument("--port", type=_port, default=DEFAULT_PORT, metavar="N", help="0: any")


def _account(text: str) -> str:
    if not re.fullmatch(r"\d{12}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an account id (12 digits)")
    return text


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a region such as us-east-1")
    return text


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def _settings(arguments: argparse.Namespace) -> UpSettings:
    return UpSettings(
        state_dir=str(arguments.state_dir.resolve()),
        cache_dir=str(arguments.cache_dir.resolve()),
        hosts=arguments.hosts,
        account=arguments.account,
        region=arguments.region,
        port=arguments.port,
    )


def _say(text: str) -> None:
    sys.stderr.write(f"sglocal: {text}\n")
    sys.stderr.flush()


def _up(arguments: argparse.Namespace) -> int:
    endpoint = daemon.up(_settings(arguments), _say)
    sys.stdout.write(json.dumps(endpoint) + "\n")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # How many requests wait for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    from sglocal.serve import serve

    return serve(_settings(arguments), arguments.lock)


def _down(arguments: argparse.Namespace) -> int:
    daemon.down(StateDir(arguments.state_dir), _say)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    state = StateDir(arguments.state_dir)
    status = _running_status(state)
    if arguments.json:
        sys.stdout.write(json.dumps(status, indent=2) + "\n")
        return 0
    sys.stdout.write(_render(status))
    return 0


def _running_status(state: StateDir) -> dict[str, Any]:
    endpoint = state.endpoint() if state.folder.exists() else None
    if endpoint is None or not state.daemon_lives():
        left = state.folder.exists() and state.settings() is not None
        hint = "; an earlier one left things behind, `sglocal down` removes them" if left else ""
        raise LocalError(f"no emulator runs in {state.folder}{hint}")
    status = daemon.fetch_status(str(endpoint["endpoint"]))
    if status is None:
        raise LocalError(f"the emulator at {endpoint['endpoint']} does not answer")
    return {**endpoint, **status, "driver": endpoint["hosts"]}


def _render(status: dict[str, Any]) -> str:
    lines = [f"AWS        {status['endpoint']}  ({status['driver']}, {status['region']})"]
    for host in status["hosts"]:
        role = "/".join(part for part in (host["role"], host["fleet"]) if part) or "-"
        state = host["lifecycle_state"] or host["state"]
        lines.append(f"host       {host['instance_id']}  {host['address']}  {role}  {state}")
    for balancer in status["load_balancers"]:
        healthy = sum(t["state"] == "healthy" for t in balancer["targets"])
        count = f"{healthy}/{len(balancer['targets'])} healthy"
        lines.append(f"balancer   {balancer['name']}  {balancer['url'] or 'not served'}  {count}")
    for image in status["images"]:
        lines.append(f"image      {image['id']}  {image['name']}  {image['state']}")
    lines += [f"error      {error}" for error in status["errors"]]
    return "\n".join(lines) + "\n"


def _host_log(state: StateDir, instance_id: str) -> Path:
    """The console of a host, also of one that ended a while ago."""
    kept = kept_log(state.folder, checked_id(instance_id))
    if kept.is_file():
        return kept
    hosts = {h["instance_id"]: h["log"] for h in _running_status(state)["hosts"]}
    if instance_id not in hosts:
        running = ", ".join(sorted(hosts)) or "none"
        ended = ", ".join(ended_hosts(state.folder)) or "none"
        raise LocalError(f"no host {instance_id}; running: {running}; ended lately: {ended}")
    return Path(hosts[instance_id])


def _logs(arguments: argparse.Namespace) -> int:
    state = StateDir(arguments.state_dir)
    path = _host_log(state, arguments.host) if arguments.host else state.log_file
    if not path.exists():
        raise LocalError(f"there is no log yet: {path}")
    with path.open(errors="replace") as handle:
        lines = handle.readlines()
        sys.stdout.write("".join(lines[-arguments.lines :] if arguments.lines > 0 else []))
        sys.stdout.flush()
        while arguments.follow:
            sys.stdout.write(handle.read())
            sys.stdout.flush()
            time.sleep(0.5)
    return 0
