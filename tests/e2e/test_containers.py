"""The README's first command, on container hosts with real SGLang: every layer is real."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.scaleout.environment import ON_DEMAND, Environment
from benchmarks.scaleout.events import EVENTS
from benchmarks.scaleout.measure import KINDS, Kind, measure, prepare
from benchmarks.scaleout.streams import through
from sglctl.ansible.keys import ephemeral_key
from sglctl.aws.run_command import RunCommand
from sglctl.images.ssh_config import aliases, write_ssh_config
from tests.e2e.harness import (
    ROOT,
    Sglctl,
    emulator_client,
    emulator_endpoint,
    leftovers,
    move_listener,
)
from tests.e2e.streams import Streamed, streams

pytestmark = [
    pytest.mark.containers,
    pytest.mark.engine,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="container hosts need root"),
]


@pytest.fixture(scope="module")
def deployed(checkout: Path, state: Path) -> Iterator[tuple[Sglctl, str]]:
    """A fleet brought up by `deploy`, and what deploy printed."""
    move_listener(checkout, "local")
    sglctl = Sglctl(checkout, state, "local", {})
    try:
        done = sglctl.run("deploy", "--yes", "--hosts", "containers", timeout_s=1700)
        yield sglctl, done.stdout
    finally:
        sglctl.run("local", "down", expect=None, timeout_s=120)


@pytest.fixture
def fleet(deployed: tuple[Sglctl, str]) -> Sglctl:
    return deployed[0]


def url_and_key(sglctl: Sglctl) -> tuple[str, str]:
    url = sglctl.json("status")["url"]
    return url, sglctl.run("status", "--show-key").stdout.strip()


def test_deploy_ends_with_every_endpoint_test_passed(deployed: tuple[Sglctl, str]) -> None:
    counts = re.search(r"(\d+) passed, (\d+) failed, (\d+) skipped", deployed[1])
    assert counts is not None, deployed[1]
    assert (int(counts[1]) >= 16, counts[2], counts[3]) == (True, "0", "0")


def test_the_curl_line_deploy_prints_works(deployed: tuple[Sglctl, str]) -> None:
    sglctl, printed = deployed
    line = next(line for line in printed.splitlines() if line.startswith("curl "))
    answer = subprocess.run(
        ["bash", "-c", line], cwd=sglctl.root, env=sglctl.env(), capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert answer.stdout.rstrip().endswith("data: [DONE]")


def test_a_streamed_chat_with_a_json_schema_is_valid_json(fleet: Sglctl) -> None:
    url, key = url_and_key(fleet)
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "maximum": 99, "minimum": 0},
                       "ok": {"type": "boolean"}},
        "required": ["n", "ok"], "additionalProperties": False,
    }  # fmt: skip
    body = {
        "model": "tiny", "stream": True, "max_tokens": 400, "temperature": 0,
        "messages": [{"role": "user", "content": "A number."}],
        "response_format": {"type": "json_schema",
                            "json_schema": {"name": "n", "schema": schema}},
    }  # fmt: skip
    command = ["curl", "-sN", f"{url}/v1/chat/completions", "-H", f"authorization: Bearer {key}",
               "-H", "content-type: application/json", "-d", json.dumps(body)]  # fmt: skip
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    events = [line[6:] for line in answer.stdout.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    text = "".join(
        choice["delta"].get("content") or ""
        for event in events[:-1]
        for choice in json.loads(event)["choices"]
    )
    assert set(json.loads(text)) == {"n", "ok"}


def test_hosts_are_as_they_were_baked_and_serve(fleet: Sglctl, tmp_path: Path) -> None:
    """testinfra on every live host, through a key that exists for this test only."""
    status = fleet.json("local", "status")
    where = emulator_endpoint(fleet)
    ids = [host["instance_id"] for host in status["hosts"]]
    ssm = emulator_client(where, "ssm")
    with ephemeral_key(RunCommand(ssm), ids, "root", "e2e") as key:
        config = tmp_path / "ssh_config"
        write_ssh_config(config, aliases(status["hosts"]), where["hub"], key)
        env = {**os.environ, "SGLCTL_IMAGE_SSH_CONFIG": str(config), "SGLCTL_IMAGE_LIVE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "tests/image", "-p", "no:cacheprovider"],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout[-5000:]
    assert passed is not None
    assert int(passed[1]) > 30


def test_real_sglang_answers_as_the_stub_is_held_to(fleet: Sglctl) -> None:
    """The contract suite against the live engine, from inside the hosts' network."""
    hosts = fleet.json("local", "status")["hosts"]
    worker = next(host for host in hosts if host["role"] == "worker")
    url = f"http://{worker['address']}:30000"
    hub = emulator_endpoint(fleet)["hub"]
    done = subprocess.run(
        ["nsenter", f"--net=/run/netns/{hub}", sys.executable, "-m", "pytest", "-q", "-m", "engine",
         "tests/contract/engine", "-p", "no:cacheprovider"],
        cwd=ROOT, env={**os.environ, "SGLCTL_ENGINE_URL": url}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout[-5000:]
    assert passed is not None
    assert int(passed[1]) > 30


def test_a_second_deploy_finds_nothing_to_do(fleet: Sglctl) -> None:
    fleet.run("deploy", "--yes")
    assert fleet.run("plan", expect=0).returncode == 0


def test_configure_changes_nothing_on_hosts_that_are_as_described(fleet: Sglctl) -> None:
    changed = fleet.json("configure", "--yes")["changed"]
    assert len(changed) == 3
    assert set(changed.values()) == {0}


def test_scale_out_edits_the_file_applies_and_leaves_no_difference(fleet: Sglctl) -> None:
    file = fleet.root / "config" / "environments" / "local.yaml"
    before = file.read_text()
    fleet.run("scale", "--min", "2", "--yes")
    after = file.read_text()
    differ = [
        (old, new)
        for old, new in zip(before.splitlines(), after.splitlines(), strict=True)
        if old != new
    ]
    assert [re.sub(r"\d+", "N", old) == re.sub(r"\d+", "N", new) for old, new in differ] == [True]
    assert fleet.run("plan", expect=0).returncode == 0
    assert fleet.json("status")["ready_workers"] == 2


def test_scale_in_under_load_cuts_no_stream(fleet: Sglctl) -> None:
    """Streams on both workers run through the departure of one."""
    url, key = url_and_key(fleet)
    results: list[Streamed] = []

    def load() -> None:
        results.extend(asyncio.run(streams(url, key, count=12, tokens=1500, model="tiny")))

    thread = threading.Thread(target=load)
    thread.start()
    fleet.run("scale", "--min", "1", "--desired", "1", "--yes")
    thread.join(120)
    assert [r for r in results if not r.complete] == []
    assert len({r.worker for r in results}) == 2
    assert fleet.json("status")["ready_workers"] == 1


@pytest.fixture
def pool(fleet: Sglctl) -> Iterator[Environment]:
    """The fleet while its group may have a warm pool; afterwards as Terraform describes it."""
    environment = Environment(fleet)
    try:
        yield environment
    finally:
        environment.autoscaling.delete_warm_pool(AutoScalingGroupName=ON_DEMAND, ForceDelete=True)
        EVENTS["scale-in"].happen(environment)


def test_a_stopped_worker_of_the_pool_serves_and_returns_to_a_running_pool(
    pool: Environment,
) -> None:
    """Hydrated and stopped; in service at a scale-out; back, its engine stopped by the agent's
    control; in service again, its engine started by it."""
    filled = prepared(pool, KINDS["filled"])
    assert [start.instance_id for start in measure(pool, [KINDS["filled"]])] == [filled]
    warm = prepared(pool, KINDS["running"])
    assert json.loads(pool.shell(warm, "sglworker state"))["state"] == "warmed"
    assert engine_of(pool, warm) == {"ActiveState": "inactive", "Result": "success"}
    assert pool.shell(warm, "cat /run/sglworker/engine.taken") == "stopped\n"
    assert [start.instance_id for start in measure(pool, [KINDS["running"]])] == [warm]
    assert engine_of(pool, warm) == {"ActiveState": "active", "Result": "success"}
    assert pool.shell(warm, "cat /run/sglworker/engine.taken") == "started\n"


def prepared(environment: Environment, kind: Kind) -> str:
    """The instance that the pool holds, as this kind of start needs it."""
    prepare(environment, kind)
    members = environment.members(ON_DEMAND)
    (warm,) = [name for name, state in members.items() if state.startswith("Warmed:")]
    return warm


def engine_of(environment: Environment, instance_id: str) -> dict[str, str]:
    shown = environment.shell(
        instance_id, "systemctl show sglang-engine --property=ActiveState,Result"
    )
    return dict(line.split("=", 1) for line in shown.splitlines())


def test_no_stream_is_lost_while_the_routers_are_restarted_under_it(fleet: Sglctl) -> None:
    """Streams from before its begin until after its end, every one of them whole.

    An instance refresh under streams needs a machine to itself (`make bench-scaleout`): a second
    engine that starts on two cores silences the first, and with it the fleet.
    """
    environment, event = Environment(fleet), EVENTS["router restarts"]
    event.prepare(environment)
    outcome = asyncio.run(through(environment, event, count=20, at_once=8, tokens=40))
    assert (outcome.truncated, outcome.failed) == ((), ())
    assert outcome.streams >= 20
    assert 0 < outcome.under_way < outcome.during


def test_a_killed_engine_is_restarted_and_its_worker_serves_again(fleet: Sglctl) -> None:
    status = fleet.json("status")
    worker = next(
        member["instance_id"]
        for group in status["groups"]
        if group["role"] == "worker"
        for member in group["members"]
    )
    commands = RunCommand(emulator_client(emulator_endpoint(fleet), "ssm"))
    kill = "systemctl kill --signal=KILL sglang-engine && sleep 2 && sglworker state"
    state = json.loads(commands.run([worker], kill, timeout_s=60)[worker].stdout)
    assert state["state"] != "failed"
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        shown = commands.run([worker], "sglworker state", timeout_s=30)[worker]
        restarts = commands.run(
            [worker], "systemctl show -p NRestarts --value sglang-engine", timeout_s=30
        )[worker]
        if json.loads(shown.stdout)["state"] == "ready" and int(restarts.stdout) >= 1:
            break
        time.sleep(1)
    else:
        pytest.fail(f"not ready again: {shown.stdout}")
    fleet.run("test")


def test_destroy_leaves_no_process_mount_namespace_or_cgroup(fleet: Sglctl, state: Path) -> None:
    hub = emulator_endpoint(fleet)["hub"]
    fleet.run("destroy", "--yes")
    assert leftovers(state, hub) == {}
    assert "nothing" in (said := fleet.run("destroy", "--yes")).stdout + said.stderr
