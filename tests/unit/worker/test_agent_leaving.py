"""The ways out of service: the pool, maintenance, rebalance; and AWS or metadata that falter."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import worker_fakes as fakes
from agent_world import GROUP, World, live

from sglworker import imds

pytestmark = pytest.mark.usefixtures("quick")


def test_a_worker_returns_to_the_pool_and_back_into_service(tmp_path: Path) -> None:
    """Drained, its engine stopped by the service manager, warmed; then started again."""

    async def life(here: World) -> None:
        wanted = tmp_path / "run" / "engine.wanted"
        async with here.engine():
            await here.until("ready")
            await fakes.until(lambda: len(here.around.completed) == 1)
            here.agent.worker.engine_started(os.getpid())
            here.around.target, here.around.lifecycle = "Warmed:Running", "Warmed:Pending:Wait"
            here.around.waiting_hooks = ("terminate",)
            await fakes.until(wanted.exists)
            assert wanted.read_text() == "stopped\n"
            assert here.state == "drained"
        await here.until("warmed")
        assert here.agent.worker.starts.times == ()  # what the pool stops does not crash
        await fakes.until(lambda: len(here.around.completed) == 2)
        assert here.around.completed[1] == (GROUP, "terminate", "CONTINUE")
        here.around.target, here.around.lifecycle = "InService", "Pending:Wait"
        here.around.waiting_hooks = ("launch",)
        await here.until("starting")
        assert wanted.read_text() == "started\n"
        async with here.engine():
            await here.until("ready")
            await fakes.until(lambda: len(here.around.completed) == 3)
        assert here.around.completed[2] == (GROUP, "launch", "CONTINUE")
        assert here.agent.worker.cut_streams == 0

    live(life, tmp_path)


def test_a_worker_whose_host_will_be_stopped_does_not_stop_its_engine(tmp_path: Path) -> None:
    """The host's own shutdown does, a moment later; the hook need not wait for it."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            await fakes.until(lambda: len(here.around.completed) == 1)
            here.around.target, here.around.lifecycle = "Warmed:Stopped", "Warmed:Pending:Wait"
            await here.until("warmed")
            await fakes.until(lambda: len(here.around.completed) == 2)
        assert not (tmp_path / "run" / "engine.wanted").exists()

    live(life, tmp_path)


def test_a_warm_worker_that_is_told_to_stop_leaves_at_once(tmp_path: Path) -> None:
    """Its host is stopped for the pool: nothing is drained, nothing holds up the shutdown."""

    async def life(here: World) -> None:
        await here.until("warmed")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(asyncio.shield(here._task), 10)
        assert here.state == "warmed"

    live(life, tmp_path, target="Warmed:Stopped", lifecycle="Warmed:Pending:Wait")


def test_a_termination_ends_the_way_into_the_pool(tmp_path: Path) -> None:
    """The group changes its mind while the engine stops: the terminate hook is completed."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            await fakes.until(lambda: len(here.around.completed) == 1)
            here.around.target, here.around.lifecycle = "Warmed:Running", "Warmed:Pending:Wait"
            here.around.waiting_hooks = ("terminate",)
            await here.until("drained")
            here.around.target, here.around.lifecycle = "Terminated", "Terminating:Wait"
            await fakes.until(lambda: len(here.around.completed) == 2)
        assert here.around.completed[1] == (GROUP, "terminate", "CONTINUE")
        assert here.state == "drained"

    live(life, tmp_path)


def test_a_rebalance_recommendation_alone_changes_nothing(tmp_path: Path) -> None:
    """The group replaces first and terminates then; draining now would only lose capacity."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            here.around.rebalance = json.dumps({"noticeTime": "2026-11-21T10:00:00Z"})
            await fakes.until(lambda: here.agent._notices.rebalance is not None)
            assert here.state == "ready"

    live(life, tmp_path)


_IN_AN_HOUR = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%d %b %Y %H:%M:%S GMT")
_REPLACED: dict[str, dict[str, Any]] = {
    "rebalance": {"rebalance": json.dumps({"noticeTime": "2026-11-21T10:00:00Z"}),
                  "fleet": {"on_rebalance": "drain"}},
    "maintenance": {"events": [{"EventId": "instance-event-1", "Code": "instance-retirement",
                                "NotBefore": _IN_AN_HOUR, "State": "active"}]},
}  # fmt: skip


@pytest.mark.parametrize("case", _REPLACED)
def test_a_worker_that_will_be_taken_is_drained_and_replaced(tmp_path: Path, case: str) -> None:
    """Drained first, then reported to its group, whose termination is completed in turn."""

    async def life(here: World) -> None:
        async with here.engine():
            await fakes.until(lambda: bool(here.around.unhealthy))
            assert here.state == "drained"
            assert case in here.agent.worker.machine.reason
            here.around.target, here.around.lifecycle = "Terminated", "Terminating:Wait"
            await fakes.until(lambda: (GROUP, "terminate", "CONTINUE") in here.around.completed)
        assert here.around.unhealthy == ["Unhealthy"]

    live(life, tmp_path, **_REPLACED[case])


def test_a_worker_serves_while_aws_refuses_every_call(tmp_path: Path) -> None:
    """Throttled: ready all the same; the hook is completed once AWS answers again."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            assert here.around.completed == []
            await fakes.until(lambda: here.around.throttles == 0, 30)
            await fakes.until(lambda: bool(here.around.completed), 30)
        assert here.around.completed == [(GROUP, "launch", "CONTINUE")]

    live(life, tmp_path, throttles=4)


def test_slow_metadata_delays_nothing_but_its_own_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service slower than its timeout is one that does not answer; the state stays."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            monkeypatch.setattr(imds, "_TIMEOUT", imds.aiohttp.ClientTimeout(total=0.05))
            here.around.metadata_delay_s = 0.2
            await fakes.until(lambda: here.agent._metadata_failures >= 3)
            assert (here.state, (await here.get("/health"))[0]) == ("ready", 200)

    live(life, tmp_path)


def test_a_host_without_metadata_fails_with_a_reason(tmp_path: Path) -> None:
    """The group's own launch timeout ends such an instance; the state says why meanwhile."""

    async def life(here: World) -> None:
        await here.until("failed")
        assert "instance metadata" in here.agent.worker.machine.reason

    live(life, tmp_path, metadata_down=True)
