"""Hosts that serve: their services run, answer at their ports, and as the right user."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("live")


def check_running(host: Any, unit: str) -> None:
    service = host.service(unit)
    if not service.is_running:
        journal = host.run("journalctl --no-pager --lines=40 --unit=%s", unit).stdout
        pytest.fail(f"{unit} does not run:\n{journal}")


@pytest.mark.parametrize("unit", ["sglworker.service", "sglang-engine.service"])
def test_a_workers_services_run(worker: Any, unit: str) -> None:
    """With the journal where one does not."""
    check_running(worker, unit)


def test_the_routers_service_runs(router: Any) -> None:
    """With the journal where it does not."""
    check_running(router, "sglrouter.service")


@pytest.mark.parametrize("port", [30000, 30080])
def test_a_worker_listens_at_its_ports(worker: Any, port: int) -> None:
    """Engine and agent."""
    assert worker.socket(f"tcp://0.0.0.0:{port}").is_listening


@pytest.mark.parametrize("port", [8000, 8001])
def test_a_router_listens_at_its_ports(router: Any, port: int) -> None:
    """Data, and admin."""
    assert router.socket(f"tcp://0.0.0.0:{port}").is_listening


def test_a_worker_is_ready_with_the_model_that_was_baked(worker: Any) -> None:
    """The agent's own word, and the manifest's."""
    state = json.loads(worker.check_output("curl -fsS --max-time 5 http://127.0.0.1:30080/state"))
    manifest = json.loads(worker.file("/etc/sglctl/manifest.json").content_string)
    assert state["state"] == "ready"
    assert state["model"] == manifest["model"]["name"]
    assert state["engine_version"] == manifest["engine"]["version"]


def test_the_engines_control_listens(worker: Any) -> None:
    """Its path unit waits; its service runs only for a word of the agent's."""
    shown = worker.check_output(
        "systemctl show sglang-engine-control.path --property=ActiveState,SubState,Result"
    )
    assert set(shown.splitlines()) == {"ActiveState=active", "SubState=waiting", "Result=success"}


@pytest.mark.parametrize(
    ("pattern", "user"), [("sglworker agent", "sglworker"), ("sglang.launch_server", "sglang")]
)
def test_a_workers_processes_are_not_root(worker: Any, pattern: str, user: str) -> None:
    """As the process table says."""
    # The bracket keeps the pattern from matching the shell that carries it.
    asked = f"[{pattern[0]}]{pattern[1:]}"
    users = worker.check_output("pgrep --full %s | xargs ps -o user= -p", asked)
    assert {line.strip() for line in users.splitlines()} == {user}


def test_no_service_of_a_host_failed(host: Any) -> None:
    """Ours or Debian's."""
    failed = host.check_output("systemctl list-units --state=failed --no-legend --plain")
    assert failed == ""
