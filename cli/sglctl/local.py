"""The AWS of this machine: `sglocal`, started and asked as a program, never imported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sglctl.context import Context, cache_home
from sglctl.errors import LocalError, PreconditionError

Hosts = Literal["containers", "processes"]

#: The base image of container hosts is made at the first start (debootstrap: about a minute).
_UP_TIMEOUT_S = 600.0
_DOWN_TIMEOUT_S = 180.0
_ASK_TIMEOUT_S = 30.0
_USUAL_PORT = 5566
_PROBE_TIMEOUT_S = 5.0
#: How long an interrupted `sglocal` may take back what it began.
_CLEAN_UP_S = 30.0
#: What it puts before the one line (and what follows it) that says why it failed.
_ERROR_PREFIX = "sglocal: error: "
_CONTAINER_TOOLS = ("systemd-nspawn", "debootstrap", "ip", "nsenter")

NOT_EXERCISED = "Ansible, systemd and testinfra are not exercised"


@dataclass(frozen=True)
class Emulator:
    """A running emulator, as its endpoint.json describes it. `hub`: its hosts' namespace."""

    endpoint: str
    pid: int
    hosts: str
    account: str
    region: str
    hub: str | None = None


@dataclass(frozen=True)
class HostChoice:
    kind: Hosts
    reason: str

    def sentence(self) -> str:
        """What the user is told before hosts are started."""
        if self.kind == "containers":
            return f"Hosts are containers: {self.reason}."
        return f"Hosts are processes: {self.reason}; {NOT_EXERCISED}."


def local_dir(context: Context) -> Path:
    """The emulator's state folder of an environment."""
    return context.state_dir / "local"


def choose_hosts(
    wanted: str, *, root: bool, linux: bool, missing: Sequence[str], target: str
) -> HostChoice:
    """`auto` becomes containers or processes, with the reason. Pure.

    Raises PreconditionError where containers were asked for and cannot be.
    """
    obstacle = None
    if not linux:
        obstacle = "containers need Linux"
    elif not root:
        obstacle = "containers need root"
    elif missing:
        obstacle = f"missing: {', '.join(missing)}"
    if wanted == "containers":
        if obstacle:
            raise PreconditionError(
                f"hosts cannot be containers here: {obstacle}",
                hint="sglctl doctor --install (as root), or --hosts processes",
            )
        return HostChoice("containers", "asked for")
    if wanted == "processes":
        return HostChoice("processes", "asked for")
    if target != "local":
        return HostChoice("processes", "an AWS environment is rehearsed with the stub engine")
    if obstacle:
        return HostChoice("processes", obstacle)
    return HostChoice("containers", "root on Linux with the tools")


def this_machine(wanted: str, target: str) -> HostChoice:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in _CONTAINER_TOOLS if shutil.which(name, path=path) is None]
    return choose_hosts(
        wanted,
        root=os.geteuid() == 0,
        linux=sys.platform == "linux",
        missing=missing,
        target=target,
    )


def read_endpoint(folder: Path) -> Emulator | None:
    """What endpoint.json says; None where no emulator was started (or it was taken down).

    Raises LocalError when the file cannot be understood.
    """
    file = folder / "endpoint.json"
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        return Emulator(
            endpoint=raw["endpoint"],
            pid=int(raw["pid"]),
            hosts=raw["hosts"],
            account=raw["account"],
            region=raw["region"],
            hub=raw.get("hub"),
        )
    except FileNotFoundError:
        return None
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise LocalError(f"{file} is damaged: {error!r}", hint="sglctl local up") from error


def answers(emulator: Emulator) -> bool:
    """Whether its status can be read now."""
    import httpx

    try:
        response = _http().get(f"{emulator.endpoint}/_sglocal/status")
    except httpx.TransportError:
        return False
    return bool(response.status_code == 200)


def running(context: Context) -> Emulator | None:
    """The environment's emulator, None where there is none.

    Raises LocalError when one was started and is dead: acting on AWS instead would be a surprise.
    """
    emulator = read_endpoint(local_dir(context))
    if emulator is not None and not answers(emulator):
        raise LocalError(
            f"the emulator of {context.environment} (process {emulator.pid}, "
            f"{emulator.endpoint}) does not answer",
            hint=f"sglctl local up --env {context.environment} repairs it; "
            f"sglctl local down --env {context.environment} removes it",
        )
    return emulator


def status(context: Context) -> dict[str, Any]:
    """Hosts, load balancers and images, as the emulator lists them."""
    emulator = running(context)
    if emulator is None:
        return {"running": False}
    document: dict[str, Any] = _http().get(f"{emulator.endpoint}/_sglocal/status").json()
    return {"running": True, "endpoint": emulator.endpoint, "kind": emulator.hosts, **document}


def up(context: Context, hosts: Hosts, account: str, region: str) -> Emulator:
    """Start (or repair) the emulator; returns when it answers. Idempotent."""
    folder = local_dir(context)
    folder.mkdir(parents=True, exist_ok=True)
    _sglocal(
        "up",
        ["--state-dir", str(folder), "--cache-dir", str(cache_home() / "local"),
         "--hosts", hosts, "--account", account, "--region", region,
         "--port", str(_port())],
        _UP_TIMEOUT_S,
    )  # fmt: skip
    emulator = running(context)
    if emulator is None:
        raise LocalError(f"sglocal up left no {folder / 'endpoint.json'}", hint="sglctl local logs")
    return emulator


def _port() -> int:
    """sglocal's usual port, or any (0) where another environment's emulator has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _USUAL_PORT))
        except OSError:
            return 0
    return _USUAL_PORT


def down(context: Context) -> bool:
    """Remove everything; False when there was nothing. Idempotent."""
    folder = local_dir(context)
    if not folder.is_dir():
        return False
    there = (folder / "endpoint.json").exists()
    _sglocal("down", ["--state-dir", str(folder)], _DOWN_TIMEOUT_S)
    return there


def seed(emulator: Emulator, document: Mapping[str, Any]) -> dict[str, Any]:
    """Give the emulator what an account would already have (certificates)."""
    response = _http(_ASK_TIMEOUT_S).post(f"{emulator.endpoint}/_sglocal/seed", json=dict(document))
    if response.status_code != 200:
        raise LocalError(f"the emulator refused the seed: {response.text[:300]}")
    answer: dict[str, Any] = response.json()
    return answer


def follow_logs(context: Context, arguments: Sequence[str]) -> int:
    """`sglocal logs`, printed as it comes; its exit code."""
    command = [sys.executable, "-m", "sglocal", "logs", "--state-dir", str(local_dir(context))]
    return subprocess.run([*command, *arguments], env=_environ(), check=False).returncode


def _http(timeout_s: float = _PROBE_TIMEOUT_S) -> Any:
    """Loopback only: a proxy of the machine's must not be asked."""
    import httpx

    return httpx.Client(timeout=timeout_s, trust_env=False)


def _sglocal(verb: str, arguments: Sequence[str], timeout_s: float) -> None:
    """Run it; its talk goes to our stderr as it comes, its error becomes ours.

    A session of its own: the terminal's Ctrl-C reaches it once, from here, and it gets the time
    to take back what it began.
    """
    command = [sys.executable, "-m", "sglocal", verb, *arguments]
    errors: list[str] = []
    with subprocess.Popen(
        command, env=_environ(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        relay = threading.Thread(target=_relay, args=(process, errors), daemon=True)
        relay.start()
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise LocalError(
                f"sglocal {verb} did not end within {timeout_s:.0f} s", hint="sglctl local logs"
            ) from error
        except BaseException:
            _interrupt(process)
            raise
        finally:
            relay.join(_PROBE_TIMEOUT_S)
    if code != 0:
        said = "\n  ".join(errors) or f"sglocal {verb} failed (exit {code}); it gave no reason"
        raise LocalError(said, hint="the emulator's own log: sglctl local logs")


def _relay(process: subprocess.Popen[str], errors: list[str]) -> None:
    """Print talk; from the line that names an error on, keep it for the message."""
    assert process.stderr is not None
    for line in process.stderr:
        if errors or line.startswith(_ERROR_PREFIX):
            errors.append(line.removeprefix(_ERROR_PREFIX).rstrip())
        else:
            sys.stderr.write(line)
            sys.stderr.flush()


def _interrupt(process: subprocess.Popen[str]) -> None:
    """SIGINT once, time to clean up, then SIGKILL."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_CLEAN_UP_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()


def _environ() -> dict[str, str]:
    """Our own variables about AWS must not reach the emulator's moto."""
    return {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
