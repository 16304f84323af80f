"""up, status and down, with a real daemon and process hosts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sglocal import daemon
from sglocal.state import UpSettings


class Sglocal:
    """The command on one state folder."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.cache = folder / "cache"

    def __call__(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sglocal", command, "--state-dir", str(self.state), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def up(self, **changed: str) -> subprocess.CompletedProcess[str]:
        given = {
            "cache-dir": str(self.cache),
            "hosts": "processes",
            "account": "111122223333",
            "region": "us-east-1",
            "port": "0",
        } | changed
        return self("up", *(word for key, value in given.items() for word in (f"--{key}", value)))

    def endpoint(self) -> dict[str, Any]:
        return dict(json.loads((self.state / "endpoint.json").read_text()))


@pytest.fixture
def sglocal(tmp_path: Path) -> Iterator[Sglocal]:
    """Always taken down again."""
    command = Sglocal(tmp_path)
    yield command
    command("down")


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def test_up_answers_is_idempotent_and_down_leaves_no_process(sglocal: Sglocal) -> None:
    first = sglocal.up()
    assert first.returncode == 0, first.stderr
    endpoint = json.loads(first.stdout)
    assert endpoint == sglocal.endpoint()
    again = sglocal.up()
    assert (again.returncode, json.loads(again.stdout)) == (0, endpoint)
    assert "already up" in again.stderr
    status = json.loads(sglocal("status", "--json").stdout)
    assert (status["endpoint"], status["hosts"]) == (endpoint["endpoint"], [])
    assert sglocal("down").returncode == 0
    assert not alive(endpoint["pid"])
    assert not (sglocal.state / "endpoint.json").exists()


def test_up_with_other_settings_says_what_runs(sglocal: Sglocal) -> None:
    sglocal.up()
    answer = sglocal.up(account="444455556666")
    assert answer.returncode == 1
    assert "runs with account 111122223333, not 444455556666" in answer.stderr


def test_up_repairs_what_a_killed_daemon_left(sglocal: Sglocal) -> None:
    sglocal.up()
    killed = sglocal.endpoint()["pid"]
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while sglocal("status").returncode == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "`sglocal down` removes them" in sglocal("status").stderr
    answer = sglocal.up()
    assert answer.returncode == 0, answer.stderr
    assert "removing what it left" in answer.stderr
    assert sglocal.endpoint()["pid"] != killed


def test_an_interrupted_up_can_be_repeated_at_once(sglocal: Sglocal) -> None:
    """Ctrl-C while the daemon starts: the next `up` finds nothing in its way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sglocal", "up", "--state-dir", str(sglocal.state), "--cache-dir",
         str(sglocal.cache), "--hosts", "processes", "--account", "111122223333", "--region",
         "us-east-1", "--port", "0"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert "starting the emulator" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "sglocal: interrupted\n")
    again = sglocal.up()
    assert again.returncode == 0, again.stderr


def test_an_up_interrupted_while_it_makes_the_daemon_leaves_one_that_is_found(
    sglocal: Sglocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C inside Popen: the process runs, and nobody was told its id."""

    started, popen = [], subprocess.Popen

    def interrupted(*arguments: Any, **named: Any) -> None:
        started.append(popen(*arguments, **named))
        raise KeyboardInterrupt

    settings = UpSettings(
        str(sglocal.state), str(sglocal.cache), "processes", "111122223333", "us-east-1", 0
    )
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", interrupted)
        with pytest.raises(KeyboardInterrupt):
            daemon.up(settings, lambda _: None)
    again = sglocal.up()
    assert (again.returncode, "already up" in again.stderr) == (0, True), again.stderr
    assert sglocal("down").returncode == 0
    assert started[0].wait(20) == 0


def test_a_taken_port_is_one_clear_line(sglocal: Sglocal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = sglocal.up(port=str(port))
    assert answer.returncode == 1
    assert f"127.0.0.1:{port} is in use by another program" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_down_of_nothing_is_no_error(sglocal: Sglocal) -> None:
    answer = sglocal("down")
    assert (answer.returncode, answer.stderr) == (0, "sglocal: nothing to remove\n")


def test_two_ups_at_once_start_one_daemon(sglocal: Sglocal) -> None:
    command = [sys.executable, "-m", "sglocal", "up", "--state-dir", str(sglocal.state)]
    command += ["--cache-dir", str(sglocal.cache), "--hosts", "processes", "--port", "0"]
    command += ["--account", "111122223333", "--region", "us-east-1"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert answers[0] == answers[1]
