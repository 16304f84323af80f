"""What survives an agent's restart: drains with their deadlines, counters, the timeline."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import worker_fakes as fakes
from agent_world import GROUP, World, live
from hypothesis import given
from hypothesis import strategies as st

from sglworker.drain import Drain, Trigger
from sglworker.errors import BootError
from sglworker.faults import Starts
from sglworker.files import Files
from sglworker.saved import boot_name, parse_saved, remember, restore
from sglworker.timeline import Timeline, boot_at
from sglworker.worker import Worker

_DRAINS = st.one_of(
    st.none(),
    st.builds(
        Drain, st.sampled_from(list(Trigger)), st.floats(0, 1e6), st.floats(0, 1e6),
        st.frozensets(st.sampled_from(list(Trigger))), st.integers(0, 9), st.integers(0, 9),
    ),
)  # fmt: skip


@given(_DRAINS, st.integers(0, 99), st.lists(st.floats(0, 1e6), max_size=5))
def test_the_next_agent_knows_what_the_last_one_knew(
    drain: Drain | None, cut: int, starts: list[float]
) -> None:
    """Through the file and back; only a stopped agent's own drain is left behind."""
    before, after = Worker(), Worker()
    before.drain, before.cut_streams = drain, cut
    before.starts, before.transitions = Starts(tuple(starts), 7), Counter(ready=3)
    before.timeline.mark("hydrate", 12.5)
    saved = parse_saved(remember(before, "boot-1").model_dump_json(), "boot-1")
    assert saved is not None
    restore(after, saved)
    assert (after.cut_streams, after.starts) == (cut, before.starts)
    assert after.transitions == before.transitions
    assert after.timeline.begun["hydrate"] == 12.5
    kept = drain.triggers - {Trigger.SIGTERM} if drain else set()
    assert after.resume_drain() is bool(kept)
    if drain and kept:
        assert after.drain is not None
        assert after.drain.triggers == kept
        assert after.drain.deadline_at == drain.deadline_at
        assert after.state == "draining"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"boot": 7}', '{"boot": "x", "reason": []}'])
def test_a_file_that_makes_no_sense_is_no_memory(text: str) -> None:
    """The agent starts anew, and says so."""
    assert parse_saved(text, "x") is None


def test_a_file_of_an_earlier_boot_is_not_read() -> None:
    """Its instants mean nothing now, and its engine is gone."""
    text = remember(Worker(), "boot-1").model_dump_json()
    assert parse_saved(text, "boot-1") is not None
    assert parse_saved(text, "boot-2") is None
    assert "/" in boot_name()


def test_a_timeline_tells_instants_and_lengths() -> None:
    """In the order of their begin, each as long as until the next; the last one is open."""
    clock, now = [100.0], datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
    timeline = Timeline(lambda: clock[0])
    timeline.launched(now - timedelta(seconds=40), now, boot_at=70.0)
    timeline.mark("agent")
    for state, later in (("hydrating", 1.0), ("starting", 4.0), ("warming_up", 20.0)):
        clock[0] = 100.0 + later
        timeline.enter(state)  # type: ignore[arg-type]
    told = [(p.name, p.seconds) for p in timeline.told(now + timedelta(seconds=20))]
    assert told == [("launch", 10.0), ("boot", 30.0), ("agent", 1.0), ("hydrate", 3.0),
                    ("engine_start", 16.0), ("warm_up", None)]  # fmt: skip
    assert timeline.told(now + timedelta(seconds=20))[0].at == now - timedelta(seconds=40)


def test_a_first_process_older_than_the_launch_is_not_this_instances() -> None:
    """A process host shares the machine's."""
    now = datetime(2026, 11, 21, tzinfo=UTC)
    timeline = Timeline(lambda: 1000.0)
    timeline.launched(now - timedelta(seconds=5), now, boot_at=3.0)
    assert set(timeline.begun) == {"launch"}
    assert (boot_at() or 0.0) >= 0.0


def test_a_way_out_of_the_pool_is_timed_anew() -> None:
    """An engine lost and found again is no scale-out; a start from the pool is one."""
    clock = [0.0]
    timeline = Timeline(lambda: clock[0])
    for state in ("hydrating", "starting", "ready", "starting", "ready", "warmed", "starting"):
        clock[0] += 1.0
        timeline.enter(state)  # type: ignore[arg-type]
    assert timeline.begun == {"hydrate": 1.0, "warmed": 6.0, "engine_start": 7.0}


@pytest.mark.usefixtures("quick")
def test_an_operators_drain_survives_the_agent(tmp_path: Path) -> None:
    """Stopped while a stream runs, started again: the same deadline, the stream not cut."""

    async def life(here: World) -> None:
        async with here.engine(itl_s=0.02):
            await here.until("ready")
            stream = await here.stream(450)
            assert (await here.post("/drain", '{"deadline_s": 300}'))[0] == 200
            await here.until("draining")
            deadline = here.agent.worker.drain.deadline_at if here.agent.worker.drain else 0.0
            here.agent.worker.cut_streams = 4
            await here.stop()
            here.start()
            await here.until("draining")
            assert here.agent.worker.drain is not None
            assert here.agent.worker.drain.deadline_at == deadline
            assert not stream.done()
            await here.until("drained")
            assert (await stream).count("data: ") == 451
            state = json.loads((await here.get("/state"))[1])
            assert (state["cut_streams"], "operator" in state["reason"]) == (4, True)
            await here.stop()
            here.start()
            await here.until("drained")  # at once, and not counted again
            assert here.agent.worker.cut_streams == 4
            assert (await here.post("/undrain"))[0] == 200
            await here.until("ready")

    live(life, tmp_path)


@pytest.mark.usefixtures("quick")
def test_a_termination_seen_by_a_new_agent_waits_for_streams_of_the_old_one(
    tmp_path: Path,
) -> None:
    """An agent that knows of no engine yet must not take it for idle."""

    async def life(here: World) -> None:
        async with here.engine(itl_s=0.02):
            await here.until("ready")
            stream = await here.stream(80)
            await here.stop()
            here.around.target, here.around.lifecycle = "Terminated", "Terminating:Wait"
            here.start()
            await here.until("drained")
            assert stream.done()
            assert (await stream).count("data: ") == 81
            await fakes.until(lambda: (GROUP, "terminate", "CONTINUE") in here.around.completed)

    live(life, tmp_path)


@pytest.mark.usefixtures("quick")
def test_the_phases_of_a_way_into_service_are_told(tmp_path: Path) -> None:
    """From launch to the first request, in order, and the same after the agent's restart."""

    async def life(here: World) -> None:
        async with here.engine(itl_s=0.01):
            await here.until("ready")
            stream = await here.stream(60)
            await fakes.until(lambda: "first_request" in here.agent.worker.timeline.begun)
            await stream
            before = json.loads((await here.get("/state"))[1])["timeline"]
            assert [phase["name"] for phase in before if phase["name"] != "boot"] == [
                "launch", "agent", "hydrate", "engine_start", "warm_up", "ready", "first_request",
            ]  # fmt: skip
            assert all(phase["seconds"] >= 0 for phase in before[:-1])
            assert before[0]["at"] == "2020-01-02T10:00:00Z"
            await here.stop()
            here.start()
            await here.until("ready")
            after = json.loads((await here.get("/state"))[1])["timeline"]
            assert [p["seconds"] for p in after[1:]] == [p["seconds"] for p in before[1:]]
            assert 'sglworker_phase_seconds{phase="warm_up"}' in (await here.get("/metrics"))[1]

    live(life, tmp_path)


@pytest.mark.usefixtures("quick")
def test_a_full_disk_costs_the_memory_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker serves; failed writes are counted."""

    def full(_files: Files, _text: str) -> None:
        raise BootError("cannot write agent-state.json: No space left on device")

    monkeypatch.setattr(Files, "write_saved", full)

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            await fakes.until(lambda: here.agent.worker.write_failures > 1)
            await fakes.until(lambda: bool(here.around.completed))
            assert (await here.get("/health"))[0] == 200

    live(life, tmp_path)
