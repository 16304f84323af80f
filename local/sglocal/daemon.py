"""Starting the daemon apart from this process, waiting for it, and removing it.

https://docs.python.org/3/library/subprocess.html (start_new_session: a Ctrl-C here stays here)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sglocal.errors import LocalError
from sglocal.state import StateDir, UpSettings

Say = Callable[[str], None]

# The first start makes the base image of the hosts (about a minute) before it answers.
START_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 60.0
LOCK_TIMEOUT_S = 660.0


def fetch_status(endpoint: str, *, timeout_s: float = 5.0) -> dict[str, Any] | None:
    """The emulator's status, None when nothing answers there."""
    url = f"{endpoint}/_sglocal/status"
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 (our own URL)
            document: dict[str, Any] = json.load(answer)
    except (OSError, ValueError, urllib.error.URLError):
        return None
    return document


def up(settings: UpSettings, say: Say) -> dict[str, Any]:
    """Start the emulator unless it runs; returns endpoint.json.

    Raises LocalError when it runs with other settings or does not start.
    """
    from sglocal.balancer.haproxy import binary
    from sglocal.hosts.factory import make_driver

    state = StateDir(Path(settings.state_dir))
    with state.exclusive(LOCK_TIMEOUT_S):
        if _await_settled(state):
            return _already_up(state, settings, say)
        binary()
        make_driver(
            settings.hosts,  # type: ignore[arg-type]
            state_dir=state.folder,
            cache_dir=Path(settings.cache_dir),
        )
        if state.settings() is not None:
            say("an earlier emulator did not stop in order; removing what it left")
            _clean(state, say)
        return _start(state, settings, say)


def _await_settled(state: StateDir) -> bool:
    """Whether a daemon runs; one that starts (its `up` was killed) or stops is waited for."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while state.daemon_lives():
        if state.endpoint() is not None or time.monotonic() >= deadline:
            return True
        time.sleep(0.1)
    return False


def _already_up(state: StateDir, wanted: UpSettings, say: Say) -> dict[str, Any]:
    running, endpoint = state.settings(), state.endpoint()
    if running is None or endpoint is None:
        raise LocalError(
            f"a daemon in {state.folder} has been starting or stopping for "
            f"{STOP_TIMEOUT_S:.0f} s; see {state.log_file}, or remove it: "
            f"`sglocal down --state-dir {state.folder}`"
        )
    for name in ("hosts", "account", "region"):
        if getattr(running, name) != getattr(wanted, name):
            raise LocalError(
                f"the emulator in {state.folder} runs with {name} {getattr(running, name)}, not "
                f"{getattr(wanted, name)}; run `sglocal down --state-dir {state.folder}` first"
            )
    say(f"already up at {endpoint['endpoint']}")
    return endpoint


def _start(state: StateDir, settings: UpSettings, say: Say) -> dict[str, Any]:
    say(f"starting the emulator ({settings.hosts}), log in {state.log_file}")
    offset = state.log_file.stat().st_size if state.log_file.exists() else 0
    command = [sys.executable, "-m", "sglocal", "serve", "--state-dir", str(state.folder)]
    command += ["--cache-dir", settings.cache_dir, "--hosts", settings.hosts]
    command += ["--account", settings.account, "--region", settings.region]
    command += ["--port", str(settings.port)]
    # The daemon inherits its lock: who is interrupted right here leaves a daemon that is seen.
    with state.hold_daemon_lock() as lock, state.log_file.open("ab") as output:
        state.write_settings(settings)
        process = subprocess.Popen(
            [*command, "--lock", str(lock.fileno())],
            pass_fds=[lock.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=state.folder,
        )
    try:
        return _await(state, process, say, offset)
    except BaseException:
        _stop_start(process)
        raise


def _stop_start(process: subprocess.Popen[bytes]) -> None:
    """Whoever interrupted a start may start again at once: nothing is left of this one then."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _await(
    state: StateDir, process: subprocess.Popen[bytes], say: Say, offset: int
) -> dict[str, Any]:
    deadline = time.monotonic() + START_TIMEOUT_S
    said = time.monotonic()
    while time.monotonic() < deadline:
        if process.poll() is not None:
            state.settings_file.unlink(missing_ok=True)
            raise LocalError(f"the emulator did not start: {_last_line(state, offset)}")
        endpoint = state.endpoint()
        if endpoint is not None and endpoint["pid"] == process.pid:
            status = fetch_status(str(endpoint["endpoint"]))
            if status is not None and status["pid"] == process.pid:
                say(f"up at {endpoint['endpoint']}")
                return endpoint
        if time.monotonic() - said > 5:
            said = time.monotonic()
            say(f"still starting: {_last_line(state, offset)}")
        time.sleep(0.1)
    raise LocalError(
        f"the emulator did not answer within {START_TIMEOUT_S:.0f} s; see {state.log_file}"
    )


def _last_line(state: StateDir, offset: int) -> str:
    with state.log_file.open("rb") as handle:
        handle.seek(offset)
        lines = handle.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "(nothing logged yet)"


def down(state: StateDir, say: Say) -> None:
    """Stop the emulator and remove everything it made, also after a kill -9 of it."""
    if not state.folder.exists():
        say("nothing to remove")
        return
    with state.exclusive(LOCK_TIMEOUT_S):
        endpoint = state.endpoint()
        if state.daemon_lives():
            _stop(state, endpoint, say)
        elif state.settings() is None:
            say("nothing to remove")
            return
        _clean(state, say)
        say("down")


def _stop(state: StateDir, endpoint: dict[str, Any] | None, say: Say) -> None:
    pid = _daemon_pid(state, endpoint)
    say(f"stopping the emulator (process {pid})")
    for number, patience in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not state.daemon_lives() and _ended(pid):
                return
            time.sleep(0.1)
    raise LocalError(f"process {pid} does not end; see {state.log_file}")


def _ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie that nobody waits for."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] == "Z"


def _daemon_pid(state: StateDir, endpoint: dict[str, Any] | None) -> int:
    """The process that serves this state folder."""
    if endpoint is not None:
        return int(endpoint["pid"])
    wanted = [b"serve", b"--state-dir", os.fsencode(state.folder)]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if b"sglocal" in words and wanted[-1] in words and wanted[0] in words:
            return int(entry.name)
    raise LocalError(f"a daemon holds {state.folder}/daemon.lock but cannot be found")


def _clean(state: StateDir, say: Say) -> None:
    """Remove what a daemon left: HAProxy, hosts, networks; then the documents."""
    from sglocal.balancer.haproxy import sweep
    from sglocal.hosts.factory import make_driver

    settings = state.settings()
    sweep(state.balancer)
    if settings is not None:
        driver = make_driver(
            settings.hosts,  # type: ignore[arg-type]
            state_dir=state.folder,
            cache_dir=Path(settings.cache_dir),
        )
        driver.close()
    state.forget()
    say("removed hosts, networks and the load balancer")
