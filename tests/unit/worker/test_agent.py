"""The whole agent on loopback: fake metadata and AWS, a stub engine, real HTTP between them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import worker_fakes as fakes
from agent_world import GROUP, World, free_port, live

from sglworker import notices

pytestmark = pytest.mark.usefixtures("quick")


def test_a_worker_boots_warms_up_and_completes_its_launch_hook(tmp_path: Path) -> None:
    """From user data to ready: weights read, engine.json written, real generations, CONTINUE."""

    async def life(here: World) -> None:
        await here.until("starting")
        command = json.loads((tmp_path / "run" / "engine.json").read_text())
        assert command["argv"][-2:] == ["--max-running-requests", "4"]
        assert (await here.get("/health"))[0] == 503
        async with here.engine() as engine:
            await here.until("ready")
            await fakes.until(lambda: bool(here.around.completed))
            status, text = await here.get("/state")
            assert engine.served == 4  # short, long, and two constrained
        state = json.loads(text)
        assert set(state["warm_up_s"]) == {"short", "long", "json_schema", "regex"}
        assert status == 200
        assert here.around.completed == [(GROUP, "launch", "CONTINUE")]
        assert state["hydrated_bytes"] == 100_000
        assert state["engine_version"] == "0.5.23"
        assert state["engine_url"] == f"http://{here.address}:{here.engine_port}"

    live(life, tmp_path)


def test_a_terminated_worker_lets_its_stream_finish_and_completes_the_hook(tmp_path: Path) -> None:
    """Terminate hook: draining while a stream runs, heartbeats, then drained and CONTINUE."""

    async def life(here: World) -> None:
        async with here.engine(itl_s=0.01):
            await here.until("ready")
            await fakes.until(lambda: bool(here.around.completed))
            stream = await here.stream(60)
            here.around.target, here.around.lifecycle = "Terminated", "Terminating:Wait"
            await here.until("draining")
            assert (await here.get("/health"))[0] == 200
            assert json.loads((await here.get("/state"))[1])["drain_deadline"] is not None
            assert not stream.done()
            await here.until("drained")
            assert stream.done()
            assert (await stream).count("data: ") == 61
            await fakes.until(lambda: len(here.around.completed) == 2)
        assert here.around.completed[1] == (GROUP, "terminate", "CONTINUE")
        assert here.around.heartbeats.count("terminate") >= 1
        assert here.agent.worker.cut_streams == 0

    live(life, tmp_path)


def test_a_stream_cut_by_the_deadline_is_counted(tmp_path: Path) -> None:
    """The deadline ends a drain, and the state says how many requests it cut."""

    async def life(here: World) -> None:
        async with here.engine(itl_s=0.01):
            await here.until("ready")
            stream = await here.stream(1500)
            here.around.target, here.around.lifecycle = "Terminated", "Terminating:Wait"
            await here.until("drained")
            assert not stream.done()
            state = json.loads((await here.get("/state"))[1])
            assert state["cut_streams"] == 1
            assert "deadline" in state["reason"]
            assert "sglworker_cut_streams_total 1.0" in (await here.get("/metrics"))[1]
            stream.cancel()

    live(life, tmp_path, fleet={"drain_deadline_s": 0.4})


def test_an_operator_drains_and_undrains(tmp_path: Path) -> None:
    """POST /drain ends in drained; POST /undrain warms up again and is ready."""

    async def life(here: World) -> None:
        await here.until("starting")
        assert (await here.post("/drain"))[0] == 200
        await here.until("drained")
        async with here.engine() as engine:
            assert (await here.post("/undrain"))[0] == 200
            await here.until("ready")
            served = engine.served
            assert (await here.post("/drain", '{"deadline_s": "x"}'))[0] == 400
            assert (await here.post("/drain", '{"deadline_s": 5}'))[0] == 200
            await here.until("drained")
            assert (await here.post("/undrain"))[0] == 200
            await here.until("ready")
            assert engine.served == served + 4
            assert (await here.post("/undrain"))[0] == 409

    live(life, tmp_path)


def test_an_undrain_cannot_undo_a_termination(tmp_path: Path) -> None:
    """The group's wish is stronger than the operator's."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            await here.post("/drain")
            here.around.target, here.around.lifecycle = "Terminated", "Terminating:Wait"
            await fakes.until(lambda: (GROUP, "terminate", "CONTINUE") in here.around.completed)
            status, text = await here.post("/undrain")
            assert status == 409
            assert "terminate" in text

    live(life, tmp_path)


def test_an_engine_that_dies_makes_the_worker_start_again(tmp_path: Path) -> None:
    """Three reads without an answer: starting; the restarted engine is warmed up again."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
        await here.until("starting")
        assert "3 reads in a row" in json.loads((await here.get("/state"))[1])["reason"]
        async with here.engine() as engine:
            await here.until("ready")
            assert engine.served == 4

    live(life, tmp_path)


def test_a_spot_notice_drains_within_its_time(tmp_path: Path) -> None:
    """The notice's time, not the fleet's deadline, bounds the drain."""

    async def life(here: World) -> None:
        async with here.engine(itl_s=0.02):
            await here.until("ready")
            stream = await here.stream(1500)
            at = datetime.now(UTC) + timedelta(seconds=notices._SPOT_MARGIN_S + 1)
            here.around.spot = json.dumps({"action": "terminate", "time": at.isoformat()})
            await here.until("drained")
            assert here.agent.worker.cut_streams == 1
            assert "spot" in here.agent.worker.machine.reason
            stream.cancel()

    live(life, tmp_path)


_BAD_BOOTS = {
    "no parameter": ({"parameter": ""}, "ParameterNotFound"),
    "user data is no YAML": ({"user_data": "#!/bin/sh\necho"}, "user data"),
    "engine never answers": ({"fleet": {"launch_timeout_s": 0.3}}, "/health"),
}


@pytest.mark.parametrize("case", _BAD_BOOTS)
def test_a_worker_that_cannot_come_up_fails_visibly_and_abandons(tmp_path: Path, case: str) -> None:
    """State failed with the reason, and the launch hook completed with ABANDON."""
    changes, reason = _BAD_BOOTS[case]

    async def life(here: World) -> None:
        await here.until("failed")
        await fakes.until(lambda: bool(here.around.completed))
        assert reason in here.agent.worker.machine.reason
        assert here.around.completed == [(GROUP, "launch", "ABANDON")]

    if changes.get("parameter") == "":
        ports = {"engine_port": 30000, "agent_port": 30080}

        async def life_without(here: World) -> None:
            here.around.parameter = ""
            await life(here)

        live(life_without, tmp_path, fleet=ports)
    else:
        live(life, tmp_path, **changes)


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_worker_of_a_pair_is_ready_by_itself(tmp_path: Path, role: str) -> None:
    """Its warm-up names no peer; a prefill worker tells where decode workers meet it."""
    port = free_port("127.0.0.1")

    async def life(here: World) -> None:
        async with here.engine(disaggregation_mode=role, bootstrap_port=port) as engine:
            await here.until("ready")
            assert engine.served == 2
            # Told with the load, which is read twice a second beside the warm-up.
            await fakes.until(lambda: here.agent.worker.load.max_running_requests is not None)
            state = json.loads((await here.get("/state"))[1])
        assert state["role"] == role
        assert state["bootstrap_port"] == (port if role == "prefill" else None)
        assert state["max_running_requests"] == 32

    live(life, tmp_path, fleet={"role": role, "disaggregation": {"bootstrap_port": port}})


def test_a_prefill_worker_without_its_bootstrap_server_is_never_ready(tmp_path: Path) -> None:
    """SGLang serves /health although that port was taken; requests would fail one by one."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("failed")
        assert "bootstrap server on port" in here.agent.worker.machine.reason

    fleet = {"role": "prefill", "disaggregation": {"bootstrap_port": 1}, "launch_timeout_s": 1}
    live(life, tmp_path, fleet=fleet)


def test_metadata_that_fails_for_a_while_changes_nothing(tmp_path: Path) -> None:
    """An unreadable target state is not a wish to terminate, nor to serve."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            here.around.metadata_down = True
            here.around.target = "Terminated"
            await fakes.until(lambda: here.agent._metadata_failures >= 3)
            assert here.state == "ready"
            here.around.metadata_down = False
            await here.until("draining", "drained")

    live(life, tmp_path)


def test_a_warm_pool_instance_reads_its_weights_and_waits(tmp_path: Path) -> None:
    """Warmed: hydrated, hook completed, no engine.json until the group wants it in service."""

    async def life(here: World) -> None:
        await here.until("warmed")
        await fakes.until(lambda: len(here.around.completed) == 1)
        assert not (tmp_path / "run" / "engine.json").exists()
        assert here.agent.worker.hydrated_bytes == 100_000
        here.around.target, here.around.lifecycle = "InService", "Pending:Wait"
        async with here.engine():
            await here.until("ready")
            await fakes.until(lambda: len(here.around.completed) == 2)

    live(life, tmp_path, target="Warmed:Stopped", lifecycle="Warmed:Pending:Wait")


def test_a_refused_warm_up_fails_at_once(tmp_path: Path) -> None:
    """An engine that answers 4xx will not change its mind: failed, with its words."""

    async def life(here: World) -> None:
        async with here.engine(max_total_tokens=16):
            await here.until("failed")
        assert "answered 400" in here.agent.worker.machine.reason

    live(life, tmp_path)
