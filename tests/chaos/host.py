"""Reaching into a process host: its services' processes, its disk, its packets, its clock."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.chaos.errors import StageError

_COMMANDS = {"agent": b"sglworker\0agent", "engine": b"sglocal.stub_engine", "router": b"sglrouter"}
_TABLE = re.compile(r"sglctl_chaos_(?P<pid>\d+)_\w+")
_LIBFAKETIME = "faketime/libfaketime.so.1"
_TOOL_TIMEOUT_S = 10


def supervisor_pid(host: Path) -> int:
    """The host's first process: another one after each boot."""
    return int(json.loads((host / "host.json").read_text())["pid"])


def service_pid(host: Path, service: str) -> int | None:
    """The main process of a host's `agent`, `engine` or `router`; None where none runs."""
    supervisor = supervisor_pid(host)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            command = (process / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == supervisor and _COMMANDS[service] in command:
            return int(process.name)
    return None


def send(host: Path, service: str, name: str) -> int:
    """Signal a service; its pid. Raises StageError when it does not run."""
    pid = service_pid(host, service)
    if pid is None:
        raise StageError(f"no {service} runs on {host.name}")
    os.kill(pid, signal.Signals[f"SIG{name}"])
    return pid


def fill_disk(host: Path) -> None:
    """Put a small file system over the run directory, its files in it, and fill it up."""
    run = host / "run"
    kept = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    _tool("mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "sglctl-chaos", str(run))
    for name, content in kept.items():
        (run / name).write_bytes(content)
    with (run / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            return  # no space left on device


def free_disk(host: Path) -> None:
    _tool("umount", str(host / "run"))


def cut_off(table: str, address: str) -> None:
    """Drop packets to and from a worker's engine and agent. The table is ours alone."""
    rules = [
        f"ip {end} {address} tcp {port} {{ 30000, 30080 }} drop"
        for end, port in (("daddr", "dport"), ("saddr", "sport"))
    ]
    chain = ["chain out {", "type filter hook output priority 0;", *rules, "}"]
    _nft("\n".join([f"table ip {table} {{", *chain, "}"]))


def connect_again(table: str) -> None:
    """Remove the table; nothing where it is gone."""
    if table in tables():
        _nft(f"delete table ip {table}")


def sweep() -> None:
    """Remove tables of ours whose process was killed before it could."""
    for table in tables():
        owner = _TABLE.fullmatch(table)
        if owner and not Path(f"/proc/{owner['pid']}").exists():
            connect_again(table)


def table_name(fleet: str, worker: int) -> str:
    """Of this process's table for a worker."""
    return f"sglctl_chaos_{os.getpid()}_{fleet}_{worker}"


def own_tables() -> set[str]:
    """Tables that this process made and has not removed."""
    return {name for name in tables() if name.startswith(f"sglctl_chaos_{os.getpid()}_")}


def tables() -> set[str]:
    """Names of the machine's nftables tables; none without nft."""
    if nft() is None:
        return set()
    listed = _tool(str(nft()), "-j", "list", "tables")
    rows: list[dict[str, Any]] = json.loads(listed)["nftables"]
    return {row["table"]["name"] for row in rows if "table" in row}


def nft() -> str | None:
    return shutil.which("nft", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def libfaketime() -> Path | None:
    """Where Debian's libfaketime is installed."""
    return next(iter(sorted(Path("/usr/lib").glob(f"*/{_LIBFAKETIME}"))), None)


def skew_clock(host: Path, seconds: int) -> None:
    """From its next boot on the agent sees another wall clock; monotonic clocks are right."""
    library = libfaketime()
    if library is None:
        raise StageError("libfaketime is not installed")
    file = host / "etc" / "supervisor.json"
    document = json.loads(file.read_text())
    prefix = ["env", f"LD_PRELOAD={library}", f"FAKETIME={seconds:+d}s",
              "FAKETIME_DONT_FAKE_MONOTONIC=1"]  # fmt: skip
    for service in document["services"]:
        if service["name"] == "agent":
            service["argv"] = [*prefix, *service["argv"]]
    file.write_text(json.dumps(document))


def missing(need: str) -> str:
    """What to install, or why not; empty where the machine has it."""
    if need == "root" and os.geteuid() != 0:
        return "needs root"
    if need == "nft" and nft() is None:
        return "needs nft (apt-get install nftables)"
    if need == "libfaketime" and libfaketime() is None:
        return "needs libfaketime (apt-get install libfaketime)"
    return ""


def _nft(text: str) -> None:
    _tool(str(nft()), "-f", "-", text=text)


def _tool(*command: str, text: str = "") -> str:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=True
        )
    except subprocess.CalledProcessError as error:
        raise StageError(f"{' '.join(command)}: {error.stderr.strip()}") from error
    return done.stdout
