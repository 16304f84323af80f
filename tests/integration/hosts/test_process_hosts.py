"""Process hosts, with small scripts in the place of agent, engine and router."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sglocal.hosts import process_table
from sglocal.hosts.driver import HostError, HostSpec
from sglocal.hosts.kept_logs import kept_log
from sglocal.hosts.process_host import RoleCommands
from sglocal.hosts.processes import ProcessDriver
from sglocal.hosts.sweep import sweep

# Writes engine.json after a moment, as an agent that has read the weights; ends on SIGTERM.
AGENT = """
import json, os, pathlib, signal, sys, time
run = pathlib.Path(os.environ["SGLWORKER_RUN_DIR"])
def end(*_):
    print("agent told to end", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
assert not (run / "engine.json").exists() or (run / "agent.starts").exists()
with (run / "agent.starts").open("a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(0.1)
(run / "engine.json").write_text("{}")
while True:
    signal.pause()
"""
# Has a child of its own, as SGLang has a scheduler; a SIGTERM to the child would be printed.
ENGINE = """
import os, pathlib, signal, subprocess, sys
run = pathlib.Path(os.environ["SGLWORKER_RUN_DIR"])
assert (run / "engine.json").exists()
child = subprocess.Popen([sys.executable, "-c", '''
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("scheduler got SIGTERM", flush=True))
while True: time.sleep(60)
'''])
def end(*_):
    print("engine told to end", flush=True)
    child.kill()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
(run / "engine.pid").write_text(str(os.getpid()))
(run / "scheduler.pid").write_text(str(child.pid))
while True:
    signal.pause()
"""
ROUTER = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
server = http.server.HTTPServer((os.environ["SGLCTL_HOST_ADDRESS"], 0), Answer)
with open(os.environ["SGLWORKER_RUN_DIR"] + "/port", "w") as file:
    print(server.server_port, file=file, flush=True)
server.serve_forever()
"""
COMMANDS = RoleCommands(
    agent=(sys.executable, "-c", AGENT),
    engine=(sys.executable, "-c", ENGINE),
    router=(sys.executable, "-c", ROUTER),
    stub=("stub",),
)
SPEC = HostSpec("i-0a", "127.77.0.11", 16, {"sglctl:role": "worker"}, environment={"A_REGION": "x"})


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


def filled(path: Path) -> bool:
    return path.exists() and path.read_text().strip() != ""


def processes_of(state_dir: Path) -> list[int]:
    entries = process_table.marked(state_dir / "hosts", process_table.table())
    return [one.pid for one in entries]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[ProcessDriver]:
    made = ProcessDriver(tmp_path, COMMANDS)
    made.prepare()
    yield made
    made.close()
    assert processes_of(tmp_path) == []
    assert not (tmp_path / "hosts").exists()


@pytest.fixture
def run_dir(driver: ProcessDriver, tmp_path: Path) -> Path:
    """The run folder of a worker whose engine is up."""
    driver.launch(SPEC)
    folder = tmp_path / "hosts/i-0a/run"
    wait_for(lambda: filled(folder / "scheduler.pid"))
    return folder


def test_a_worker_runs_its_engine_once_the_agent_has_written_how(
    driver: ProcessDriver, run_dir: Path
) -> None:
    assert driver.status("i-0a") == "running"
    assert list(driver.hosts()) == ["i-0a"]
    assert filled(run_dir / "agent.starts")


def test_a_worker_document_binds_the_hosts_address_and_names_the_stub_engine(
    driver: ProcessDriver, run_dir: Path
) -> None:
    document = json.loads((run_dir.parent / "etc/worker.yaml").read_text())
    assert document["bind"] == "127.77.0.11"
    assert document["engine"] == {"kind": "stub", "command": ["stub"]}


def test_a_service_that_is_killed_starts_again_and_the_other_stays(
    driver: ProcessDriver, run_dir: Path
) -> None:
    agents = (run_dir / "agent.starts").read_text()
    engine, scheduler = (
        int((run_dir / f"{name}.pid").read_text()) for name in ("engine", "scheduler")
    )
    os.kill(engine, signal.SIGKILL)
    wait_for(lambda: int((run_dir / "engine.pid").read_text() or 0) not in (0, engine))
    assert process_table.entry(scheduler) is None  # what the engine left ended with it
    assert (run_dir / "agent.starts").read_text() == agents


def test_an_engine_stops_and_starts_as_its_agent_wants(
    driver: ProcessDriver, run_dir: Path
) -> None:
    """As sglang-engine-control.path does on hosts with systemd."""
    engine = int((run_dir / "engine.pid").read_text())

    def want(text: str) -> None:
        (run_dir / "wanted.new").write_text(text)
        (run_dir / "wanted.new").replace(run_dir / "engine.wanted")

    want("stopped")
    wait_for(lambda: process_table.entry(engine) is None)
    want("started")
    wait_for(lambda: int((run_dir / "engine.pid").read_text() or 0) not in (0, engine))
    assert "engine told to end" in driver.log_path("i-0a").read_text()


def test_a_stop_asks_the_engine_then_the_agent_and_never_the_engines_children(
    driver: ProcessDriver, run_dir: Path
) -> None:
    driver.stop("i-0a", graceful_s=10)
    log = driver.log_path("i-0a").read_text()
    assert log.index("engine told to end") < log.index("agent told to end")
    assert "scheduler got SIGTERM" not in log
    assert driver.status("i-0a") == "stopped"


def test_a_stopped_host_starts_with_an_empty_run_folder(
    driver: ProcessDriver, run_dir: Path
) -> None:
    driver.stop("i-0a", graceful_s=0)
    driver.start("i-0a")  # the agent itself asserts that engine.json is gone
    wait_for(lambda: filled(run_dir / "scheduler.pid"))
    assert len((run_dir / "agent.starts").read_text().split()) == 1


def test_nothing_outlives_a_killed_supervisor_that_a_start_does_not_clear(
    driver: ProcessDriver, run_dir: Path, tmp_path: Path
) -> None:
    engine = int((run_dir / "engine.pid").read_text())
    supervisor = json.loads((tmp_path / "hosts/i-0a/host.json").read_text())["pid"]
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: driver.status("i-0a") == "stopped" and process_table.entry(engine) is None)
    driver.start("i-0a")
    assert driver.status("i-0a") == "running"


def test_a_terminated_host_is_gone_within_a_second(
    driver: ProcessDriver, run_dir: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    driver.terminate("i-0a")
    assert time.monotonic() - began < 1
    assert driver.status("i-0a") == "gone"
    assert processes_of(tmp_path) == []
    driver.terminate("i-0a")  # no error when it is gone


def test_a_terminated_hosts_console_is_kept_to_its_last_line(
    driver: ProcessDriver, run_dir: Path, tmp_path: Path
) -> None:
    """Why a worker gave up is asked when it is gone."""
    driver.terminate("i-0a", graceful_s=5.0)
    said = kept_log(tmp_path, "i-0a").read_text()
    assert "engine told to end" in said
    assert said.endswith("supervisor: host stopped\n")


def test_a_router_answers_health_checks_at_its_address(
    driver: ProcessDriver, tmp_path: Path
) -> None:
    driver.launch(replace(SPEC, tags={"sglctl:role": "router"}))
    file = tmp_path / "hosts/i-0a/run/port"
    wait_for(lambda: filled(file))
    port = int(file.read_text())
    answers = [
        driver.http_status("127.77.0.11", port, path, timeout_s=5) for path in ("/health", "/no")
    ]
    assert answers == [200, 404]


def test_a_host_that_does_not_answer_has_no_status(driver: ProcessDriver) -> None:
    with driver.listen("127.77.0.12", 0) as silent:
        port = silent.getsockname()[1]
        assert driver.http_status("127.77.0.12", port, "/", timeout_s=0.05) is None
    assert driver.http_status("127.77.0.12", port, "/", timeout_s=0.5) is None


def test_an_instance_without_a_role_idles(driver: ProcessDriver, tmp_path: Path) -> None:
    driver.launch(replace(SPEC, tags={}))
    assert len(processes_of(tmp_path)) == 1
    assert driver.status("i-0a") == "running"


def test_a_script_runs_with_the_hosts_environment_and_commands(
    driver: ProcessDriver, run_dir: Path
) -> None:
    script = 'echo "$A_REGION $SGLCTL_HOST_ADDRESS"; command -v sglworker; echo no >&2; exit 3'
    result = driver.run("i-0a", script, timeout_s=10)
    assert (result.returncode, result.stderr) == (3, "no\n")
    assert result.stdout == f"x 127.77.0.11\n{run_dir.parent}/bin/sglworker\n"


def test_nothing_of_the_callers_environment_reaches_a_host(
    driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the developer's own")
    driver.launch(replace(SPEC, tags={}))
    assert "developer" not in driver.run("i-0a", "env", timeout_s=10).stdout


def test_a_script_that_overruns_is_killed_with_its_children(
    driver: ProcessDriver, tmp_path: Path
) -> None:
    driver.launch(replace(SPEC, tags={}))
    result = driver.run("i-0a", "echo began; sleep 300 & sleep 300", timeout_s=0.3)
    assert (result.returncode, result.stdout) == (124, "began\n")
    assert "killed after 0.3 s" in result.stderr
    assert len(processes_of(tmp_path)) == 1  # the supervisor


def test_long_output_is_cut_as_run_command_cuts_it(driver: ProcessDriver) -> None:
    driver.launch(replace(SPEC, tags={}))
    result = driver.run("i-0a", "head -c 100000 /dev/zero | tr '\\0' x", timeout_s=10)
    assert len(result.stdout) == 24_000


def test_an_address_that_is_taken_is_named(driver: ProcessDriver) -> None:
    with driver.listen("127.77.0.13", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(HostError, match=f"127.77.0.13:{port}"):
            driver.listen("127.77.0.13", port)


def test_what_the_system_refuses_is_told_with_the_hosts_name(
    driver: ProcessDriver, tmp_path: Path
) -> None:
    (tmp_path / "hosts/i-0a").mkdir()  # somebody's leftover
    with pytest.raises(HostError, match="host i-0a"):
        driver.launch(replace(SPEC, tags={}))
    assert list(driver.hosts()) == []
    (tmp_path / "hosts/i-0a").rmdir()
    driver.launch(replace(SPEC, tags={}))


def test_one_instance_id_is_one_host(driver: ProcessDriver) -> None:
    driver.launch(replace(SPEC, tags={}))
    with pytest.raises(HostError, match="exists already"):
        driver.launch(replace(SPEC, tags={}))


@pytest.mark.parametrize("act", ["stop", "start", "run"])
def test_what_is_asked_of_no_host_names_it(driver: ProcessDriver, act: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "stop": lambda: driver.stop("i-0none"),
        "start": lambda: driver.start("i-0none"),
        "run": lambda: driver.run("i-0none", "true", timeout_s=1),
    }
    with pytest.raises(HostError, match="i-0none"):
        calls[act]()


def test_a_sweep_in_a_new_process_removes_what_a_killed_emulator_left(tmp_path: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from sglocal.hosts.driver import HostSpec
from sglocal.hosts.process_host import RoleCommands
from sglocal.hosts.processes import ProcessDriver
commands = RoleCommands(
    agent=(sys.executable, "-c", {AGENT!r}), engine=(sys.executable, "-c", {ENGINE!r})
)
driver = ProcessDriver(Path({str(tmp_path)!r}), commands)
driver.prepare()
for number in (21, 22):
    tags = {{"sglctl:role": "worker"}}
    driver.launch(HostSpec(f"i-{{number}}", f"127.77.0.{{number}}", 16, tags))
print("up", flush=True)
time.sleep(600)
"""
    emulator = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with emulator:
        assert emulator.stdout is not None
        assert emulator.stdout.readline() == "up\n"
        pids = [tmp_path / f"hosts/i-{number}/run/scheduler.pid" for number in (21, 22)]
        wait_for(lambda: all(filled(file) for file in pids))
        emulator.kill()
    assert len(processes_of(tmp_path)) == 8  # supervisor, agent, engine, scheduler; twice

    sweep(tmp_path)

    assert processes_of(tmp_path) == []
    assert not (tmp_path / "hosts").exists()


def test_a_sweep_spares_the_process_that_got_a_recycled_number(tmp_path: Path) -> None:
    """The record names this very test's process id, with another start time."""
    folder = tmp_path / "hosts/i-0b"
    folder.mkdir(parents=True)
    identity = process_table.identify(os.getpid())
    assert identity is not None
    record = {**vars(identity), "start": identity.start - 1}
    (folder / "host.json").write_text(json.dumps(record))
    sweep(tmp_path)
    assert not folder.exists()


def test_a_supervisor_whose_services_run_uses_no_processor_time(
    driver: ProcessDriver, run_dir: Path
) -> None:
    supervisor = json.loads((run_dir.parent / "host.json").read_text())["pid"]

    def wake_ups() -> int:
        status = Path(f"/proc/{supervisor}/status").read_text().splitlines()
        lines = [line for line in status if "ctxt_switches" in line]
        return sum(int(line.split()[1]) for line in lines)

    quiet = False
    for _ in range(5):  # the kernel may wake it once; who polls has no quiet second
        before = wake_ups()
        time.sleep(1)  # the measurement itself
        quiet = quiet or wake_ups() == before
    assert quiet


def test_a_driver_listens_on_ports_a_host_can_reach(driver: ProcessDriver) -> None:
    driver.launch(replace(SPEC, tags={}))
    with driver.listen("127.77.0.11", 0) as server:
        port = server.getsockname()[1]
        driver.run("i-0a", f"exec 3<>/dev/tcp/127.77.0.11/{port}", timeout_s=5)
        server.settimeout(5)
        connection, _ = server.accept()
        with connection:
            assert connection.family == socket.AF_INET
