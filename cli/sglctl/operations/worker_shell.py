"""A shell on a worker's host: Session Manager on AWS, ssh into a container here."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sglctl import local
from sglctl.ansible.inventory import proxy_command
from sglctl.ansible.keys import ephemeral_key
from sglctl.aws.session import Session
from sglctl.context import Context
from sglctl.core.workers import Worker, choose
from sglctl.errors import HostError, PreconditionError
from sglctl.operations.audit import audited
from sglctl.operations.workers import Fleets, open_fleets
from sglctl.output import say

#: ssh's own failures, told apart from the remote shell's exit code.
_SSH_FAILED = 255
_TOOLS = ("aws", "session-manager-plugin")


def shell(context: Context, instance_id: str) -> int:
    """Hand the terminal over; the exit code of the shell (0 after a dry run).

    Raises PreconditionError for an unknown or stopped worker, for process hosts, and where a
    tool is missing; HostError when the host cannot be reached.
    """
    fleets = open_fleets(context)
    (worker,) = choose(fleets.listed(), [instance_id], context.environment)
    if worker.agent.state == "stopped":
        raise PreconditionError(f"{instance_id} is stopped, in the warm pool")
    emulator = local.running(context)
    if emulator is None:
        return _by_session_manager(context, fleets.session, instance_id)
    if emulator.hub is None:
        raise PreconditionError(
            "the hosts of this environment are processes: there is no system to log in to",
            hint=f"sglctl workers logs {instance_id}, or sglctl local up --hosts containers",
        )
    return _by_ssh(fleets, worker, emulator.hub)


def session_command(instance_id: str, region: str) -> list[str]:
    """https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-sessions-start.html"""
    return ["aws", "ssm", "start-session", "--target", instance_id, "--region", region]


def ssh_command(address: str, hub: str, region: str, key: Path) -> list[str]:
    """Into a container host, through the hub's namespace, which alone reaches it."""
    options = {
        "ProxyCommand": proxy_command(hub, region),
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": os.devnull,
        "LogLevel": "ERROR",
        "ConnectTimeout": "15",
        "IdentitiesOnly": "yes",
    }
    flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
    return ["ssh", *flags, "-i", str(key), f"root@{address}"]


def require_tools(which: Callable[[str], str | None] = shutil.which) -> None:
    """Raises PreconditionError that names what Session Manager needs and is not there."""
    if missing := [name for name in _TOOLS if which(name) is None]:
        raise PreconditionError(
            f"a shell on AWS needs {' and '.join(missing)}",
            hint="install the AWS CLI and its Session Manager plugin; without: sglctl workers "
            "logs, or the console's Session Manager",
        )


def _by_session_manager(context: Context, session: Session, instance_id: str) -> int:
    command = session_command(instance_id, session.region)
    if context.dry_run:
        say(f"Would run: {shlex.join(command)}")
        return 0
    require_tools()
    with audited(context, "workers shell", workers=[instance_id]):
        return run(command, session.environ)


def _by_ssh(fleets: Fleets, worker: Worker, hub: str) -> int:
    context, session = fleets.context, fleets.session
    if context.dry_run:
        say(f"Would ssh to {worker.instance_id} as root, with a key for this session only")
        return 0
    address = _address(session, worker.instance_id)
    name = f"{context.environment}-shell-{os.getpid()}"  # not a run of `configure` beside us
    with (
        audited(context, "workers shell", workers=[worker.instance_id]),
        ephemeral_key(fleets.commands, [worker.instance_id], "root", name) as key,
    ):
        code = run(ssh_command(address, hub, session.region, key), os.environ)
        if code == _SSH_FAILED:
            raise HostError(
                f"ssh did not reach {worker.instance_id} at {address}",
                hint=f"sglctl local logs {worker.instance_id}",
            )
        return code


def _address(session: Session, instance_id: str) -> str:
    answer = session.client("ec2").describe_instances(InstanceIds=[instance_id])
    return str(answer["Reservations"][0]["Instances"][0]["PrivateIpAddress"])


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """The child has the terminal, and its Ctrl-C: that is for what runs in the shell."""
    with _interrupts_left_to_the_child():
        return subprocess.run(command, env=dict(environ), check=False).returncode


@contextmanager
def _interrupts_left_to_the_child() -> Iterator[None]:
    """A handler, not SIG_IGN: an ignored signal would stay ignored in the child."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
