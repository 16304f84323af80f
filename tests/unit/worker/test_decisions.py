"""The agent's decisions as data: transitions, drains, hooks, who may ask, the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglworker.command import engine_command, own_address
from sglworker.drain import IDLE_READS, SETTLE_S, Drain, Load, Trigger, Verdict, judge
from sglworker.errors import DocumentError, NotAllowedError
from sglworker.hooks import launch_result, launch_step, terminate_step
from sglworker.machine import TRANSITIONS, Event, Machine, next_state
from sglworker.models import FleetDocument, HostDocument, StateName, UserData, WorkerState, parse
from sglworker.server import is_own
from sglworker.worker import LOST_AFTER_READS, Worker

E, IDLE, BUSY = Event, Load(0, 0), Load(2, 1)

LIVES: dict[str, tuple[list[Event], StateName]] = {
    "a plain life": ([E.BOOTED, E.HYDRATED, E.ENGINE_UP, E.WARMED_UP, E.DRAIN, E.DRAINED],
                     "drained"),
    "through the warm pool": ([E.BOOTED, E.HELD, E.RELEASED, E.ENGINE_UP, E.WARMED_UP], "ready"),
    "the engine dies while warming up": (
        [E.BOOTED, E.HYDRATED, E.ENGINE_UP, E.ENGINE_LOST], "starting"),
    "the engine dies in service": (
        [E.BOOTED, E.HYDRATED, E.ENGINE_UP, E.WARMED_UP, E.ENGINE_LOST], "starting"),
    "undrained": (
        [E.BOOTED, E.HYDRATED, E.ENGINE_UP, E.WARMED_UP, E.DRAIN, E.UNDRAIN], "starting"),
    "a failed one is terminated": ([E.FAILED, E.DRAIN, E.DRAINED],
                     "drained"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIVES)
def test_a_life_ends_where_the_table_says(name: str) -> None:
    """Events in order lead to the named state, and the listener hears each change."""
    events, expected = LIVES[name]
    heard: list[StateName] = []
    machine = Machine(listener=lambda _old, new, _reason: heard.append(new))
    for event in events:
        machine.apply(event, "why")
    assert machine.state == expected
    assert len(heard) == len(events)
    assert machine.reason == "why"


@pytest.mark.parametrize(
    ("state", "event"),
    [("booting", E.WARMED_UP), ("hydrating", E.ENGINE_UP), ("starting", E.WARMED_UP),
     ("ready", E.DRAINED), ("drained", E.WARMED_UP), ("ready", E.UNDRAIN), ("failed", E.WARMED_UP)],
)  # fmt: skip
def test_a_state_is_never_skipped(state: StateName, event: Event) -> None:
    """No shortcut to ready, and none past draining; such an event is an error."""
    with pytest.raises(NotAllowedError):
        Machine(state=state).apply(event)


@given(st.lists(st.sampled_from(list(Event)), max_size=30))
def test_ready_always_comes_from_warming_up(events: list[Event]) -> None:
    """Whatever happens in whatever order, a worker is ready only after a real generation."""
    state: StateName = "booting"
    for event in events:
        following = next_state(state, event)
        if following == "ready":
            assert (state, event) == ("warming_up", E.WARMED_UP)
        state = following or state
    assert state in get_args(StateName)


def test_every_state_answers_every_event() -> None:
    """A pair is in the table, or refused without a change; the table names nothing else."""
    states, events = set(get_args(StateName)), set(Event)
    assert {pair[0] for pair in TRANSITIONS} <= states
    assert {pair[1] for pair in TRANSITIONS} == events
    assert set(TRANSITIONS.values()) | {"booting"} == states
    for state in states:
        for event in events - {e for s, e in TRANSITIONS if s == state}:
            machine = Machine(state=state)
            with pytest.raises(NotAllowedError):
                machine.apply(event)
            assert machine.state == state


def test_every_state_can_be_drained_or_is_already() -> None:
    """A termination finds an answer in every state."""
    drainable = {state for state, event in TRANSITIONS if event is E.DRAIN}
    assert set(get_args(StateName)) - drainable == {"draining", "drained"}


def drained_by(readings: list[tuple[float, Any]], now: float, deadline: float = 60) -> Any:
    drain = Drain(Trigger.TERMINATE, 0.0, deadline)
    for at, reading in readings:
        drain = drain.observe(reading, at)
    return judge(drain, now)


S = SETTLE_S
DRAINS: dict[str, tuple[list[tuple[float, Any]], float, int | None]] = {
    "nothing read yet": ([], 5, None),
    "idle, but routers may not know": ([(0.1, IDLE), (0.6, IDLE)], 0.6, None),
    "idle twice, the last after settling": ([(S - 0.1, IDLE), (S + 0.4, IDLE)], S + 0.4, 0),
    "idle once": ([(0.1, BUSY), (S + 1, IDLE)], S + 1, None),
    "busy between": ([(S, IDLE), (S + 0.5, BUSY), (S + 1, IDLE)], S + 1, None),
    "busy": ([(S, BUSY), (S + 1, BUSY)], S + 1, None),
    "no answer proves nothing": ([(S, IDLE), (S + 0.5, "silent"), (S + 1, IDLE)], S + 1, None),
    "nothing listens": ([(S, "down"), (S + 0.5, "down")], S + 0.5, 0),
    "the engine died with streams": ([(S, BUSY), (S + 0.5, "down"), (S + 1, "down")], S + 1, 3),
    "deadline while busy": ([(1, BUSY), (59, BUSY)], 60, 3),
    "deadline without an answer keeps the last load": ([(1, BUSY), (2, "silent")], 60, 3),
    "deadline with nothing ever read": ([], 60, 0),
}


@pytest.mark.parametrize("name", DRAINS)
def test_a_drain_ends_when_it_may(name: str) -> None:
    """None while it goes on, else the number of requests it cuts."""
    readings, now, expected = DRAINS[name]
    verdict = drained_by(readings, now)
    assert (verdict.cut if verdict else None) == expected


_READING = st.one_of(st.builds(Load, st.integers(0, 3), st.integers(0, 3)),
                     st.sampled_from(["down", "silent"]))  # fmt: skip


@given(st.lists(st.tuples(st.floats(0, 1), _READING), max_size=40))
def test_a_drain_never_cuts_before_its_deadline_a_stream_it_could_see(
    steps: list[tuple[float, Any]],
) -> None:
    """Before the deadline a verdict means: the last readings were idle, and routers knew."""
    drain, now = Drain(Trigger.OPERATOR, 0.0, 1000.0), 0.0
    for pause, reading in steps:
        now += pause
        drain = drain.observe(reading, now)
        if judge(drain, now) is not None:
            assert now >= SETTLE_S
            assert drain.idle_reads >= IDLE_READS
            assert reading == "down" or reading.busy == 0


@given(st.lists(st.tuples(st.sampled_from(list(Trigger)), st.floats(0, 100)), min_size=1))
def test_joined_drains_keep_the_nearest_deadline_and_the_strongest_trigger(
    wishes: list[tuple[Trigger, float]],
) -> None:
    """An operator's undrain can never undo somebody else's drain."""
    drain = Drain(Trigger.OPERATOR, 0.0, 50.0)
    for trigger, deadline in wishes:
        drain = drain.also(trigger, deadline)
    assert drain.deadline_at == min(50.0, *(deadline for _, deadline in wishes))
    assert drain.can_undo == all(trigger is Trigger.OPERATOR for trigger, _ in wishes)


def test_a_verdict_tells_the_lost_once() -> None:
    """What died with the engine is not counted again at the deadline."""
    drain = replace(Drain(Trigger.SPOT, 0, 10), busy=2).observe("down", 1).observe("down", 2)
    assert judge(drain, 10) == Verdict(2, "idle after 10.0 s, 2 cut by the engine's end")


def ready_worker(clock: list[float]) -> Worker:
    worker = Worker(monotonic=lambda: clock[0])
    for event in LIVES["a plain life"][0][:4]:
        worker.machine.apply(event)
    return worker


def test_a_load_that_cannot_be_read_stays_known_and_ages() -> None:
    """A failed read is not an empty result: the last load stays, its age grows."""
    clock = [100.0]
    worker = ready_worker(clock)
    worker.observe(Load(3, 1, 0.5, 0.25))
    clock[0] += 1.0
    assert not worker.observe("silent")
    document = worker.document()
    assert (document.in_flight, document.queued, document.load_age_s) == (3, 1, 1.0)
    assert worker.state == "ready"


def test_a_ready_worker_loses_its_engine_after_three_reads() -> None:
    """Two misses are a hiccup; an answer between starts the count anew."""
    worker = ready_worker([0.0])
    readings: list[Any] = ["silent", "silent", IDLE, *["down"] * LOST_AFTER_READS]
    assert [worker.observe(r) for r in readings] == [False] * (len(readings) - 1) + [True]
    assert worker.state == "starting"


LAUNCH = [
    ("Pending:Wait", 1, "complete"),
    ("Warmed:Pending:Wait", 1, "complete"),
    ("Pending", 1, "wait"),
    (None, 1, "wait"),
    (None, 1e6, "nothing"),
    ("InService", 1, "nothing"),
    ("Pending:Proceed", 1, "nothing"),
    ("Terminating:Wait", 1, "nothing"),
]


@pytest.mark.parametrize(("lifecycle", "age", "expected"), LAUNCH)
def test_a_launch_hook_is_completed_only_while_it_waits(
    lifecycle: str | None, age: float, expected: str
) -> None:
    """Pending:Wait is the one state in which there is something to complete."""
    assert launch_step(lifecycle, age) == expected


@pytest.mark.parametrize(
    ("lifecycle", "expected"),
    [("Terminating:Wait", "complete"), ("Terminating", "wait"), ("InService", "wait"),
     ("Terminating:Proceed", "nothing"), (None, "nothing")],
)  # fmt: skip
def test_a_terminate_hook_is_completed_only_while_it_waits(
    lifecycle: str | None, expected: str
) -> None:
    """Metadata may be ahead of the group: then wait."""
    assert terminate_step(lifecycle) == expected


def test_only_a_worker_that_serves_continues_its_launch() -> None:
    """Ready and warmed continue, failed abandons, the others are open."""
    told = {state: launch_result(state) for state in get_args(StateName)}
    assert {s for s, r in told.items() if r == "CONTINUE"} == {"ready", "warmed"}
    assert {s for s, r in told.items() if r == "ABANDON"} == {"failed"}


@pytest.mark.parametrize(
    ("peer", "local", "expected"),
    [("127.0.0.1", "127.0.0.1", True), ("127.9.9.9", "10.0.0.5", True), ("::1", "::1", True),
     ("10.0.0.5", "10.0.0.5", True), ("10.0.0.6", "10.0.0.5", False), ("", "", False)],
)  # fmt: skip
def test_only_the_host_itself_may_drain(peer: str, local: str, expected: bool) -> None:
    """Loopback and the host's own address; everybody else gets 403."""
    assert is_own(peer, local) is expected


HOST: dict[str, Any] = {
    "version": 1, "bind": "0.0.0.0",
    "engine": {"kind": "sglang", "command": ["python", "-m", "sglang.launch_server"],
               "args": ["--device", "cpu"], "environment": {"A": "host", "B": "host"}},
    "model": {"name": "tiny", "path": "/opt/models/tiny"},
}  # fmt: skip
FLEET: dict[str, Any] = {
    "environment": "dev", "fleet": "chat", "release": "1", "model": "tiny",
    "served_model_name": "tiny-chat", "context_length": 4096, "engine_args": ["--tp", "2"],
    "engine_env": {"B": "fleet"},
}  # fmt: skip


def test_the_fleets_arguments_come_last() -> None:
    """Image command, ours, the image's, the fleet's: the later one wins in SGLang."""
    host, fleet = HostDocument.model_validate(HOST), FleetDocument.model_validate(FLEET)
    command = engine_command(host, fleet)
    assert command.argv == (
        "python", "-m", "sglang.launch_server", "--model-path", "/opt/models/tiny",
        "--served-model-name", "tiny-chat", "--host", "0.0.0.0", "--port", "30000",
        "--context-length", "4096", "--enable-metrics", "--enable-cache-report",
        "--device", "cpu", "--tp", "2",
    )  # fmt: skip
    assert command.environment == {"A": "host", "B": "fleet"}
    assert own_address(host, "10.0.0.5") == "10.0.0.5"


@pytest.mark.parametrize(
    ("role", "flags"),
    [("regular", ()),
     ("prefill", ("--disaggregation-mode", "prefill", "--disaggregation-transfer-backend",
                  "nixl", "--disaggregation-bootstrap-port", "8998")),
     ("decode", ("--disaggregation-mode", "decode", "--disaggregation-transfer-backend", "nixl"))],
)  # fmt: skip
def test_a_role_is_flags_of_the_engine(role: str, flags: tuple[str, ...]) -> None:
    """Only a prefill worker has a bootstrap port; a regular one knows nothing of pairs."""
    change = {"role": role, "disaggregation": {"transfer_backend": "nixl"}}
    fleet = FleetDocument.model_validate(FLEET | change)
    argv = engine_command(HostDocument.model_validate(HOST), fleet).argv
    assert argv[argv.index("--enable-cache-report") + 1 : argv.index("--device")] == flags


@pytest.mark.parametrize(
    ("change", "word"),
    [({"model": "big"}, "model 'tiny'"), ({"engine": "stub"}, "engine 'sglang'")],
)  # fmt: skip
def test_an_image_that_does_not_fit_its_fleet_is_refused(change: Any, word: str) -> None:
    """The message names what the image holds and what the fleet wants."""
    with pytest.raises(DocumentError, match=word):
        engine_command(
            HostDocument.model_validate(HOST), FleetDocument.model_validate(FLEET | change)
        )


@pytest.mark.parametrize(
    ("text", "word"),
    [("environment: prod\nfleet: chat\n", "release: Field required"),
     ("environment: prod\nfleet: chat\nrelease: '1'\nspeed: 9", "speed: Extra inputs"),
     ("environment: Production\nfleet: chat\nrelease: '1'", "environment: String should match"),
     ("environment: prod\nfleet: chat\nrelease: 2026-11-01", "quote the value"),
     ("#!/bin/bash\nset -e", "expected a mapping"), ("{", "not YAML")],
)  # fmt: skip
def test_a_wrong_document_is_one_clear_error(text: str, word: str) -> None:
    """Source, key and what is wrong with it."""
    with pytest.raises(DocumentError, match=word) as caught:
        parse(UserData, text, "user data")
    assert str(caught.value).startswith("user data: ")


def test_a_state_of_another_release_can_be_read() -> None:
    """Routers ignore fields that they do not know yet."""
    told = Worker().document().model_dump(mode="json") | {"new_field": 1}
    assert WorkerState.model_validate(told).state == "booting"
