"""Workers by hand: what may be done with which, drains of several, waits, logs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglctl.aws.session import Session, emulator_environ
from sglctl.config.loader import load
from sglctl.context import Context
from sglctl.core.workers import (
    AgentState,
    Decision,
    Worker,
    choose,
    may_drain,
    may_terminate,
    may_undrain,
    without_ready,
)
from sglctl.errors import HostError, PreconditionError, WaitTimeoutError
from sglctl.operations import drain, worker_logs
from sglctl.operations.audit import log_file
from sglctl.operations.drain import Options
from sglctl.operations.workers import Fleets, WorkerList, run_on
from tests.unit.cli.worker_world import Agents, make_group, worker

ROOT = Path(__file__).resolve().parents[3]
STATES = ("ready", "starting", "booting", "draining", "drained", "warmed", "failed",
          "unreachable", "stopped")  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "lifecycle", "verdicts"),
    [
        (may_drain, "InService",
         {"ready": "act", "starting": "act", "warming_up": "act", "booting": "refuse",
          "draining": "nothing to do", "drained": "nothing to do", "failed": "refuse",
          "unreachable": "refuse", "stopped": "refuse"}),
        (may_undrain, "InService",
         {"draining": "act", "drained": "act", "ready": "nothing to do",
          "starting": "nothing to do", "booting": "refuse", "unreachable": "refuse"}),
        (may_undrain, "Terminating:Wait",
         {"draining": "refuse", "drained": "refuse", "ready": "refuse"}),
        (may_terminate, "InService", dict.fromkeys(STATES, "act")),
        (may_terminate, "Terminating:Wait", {"draining": "nothing to do"}),
        (may_terminate, "Warmed:Stopped", {"stopped": "refuse"}),
    ],
)  # fmt: skip
def test_what_may_be_done_follows_from_state_and_lifecycle(
    ask: Callable[[Worker], Decision], lifecycle: str, verdicts: Mapping[str, str]
) -> None:
    found = {state: ask(worker(state=state, lifecycle=lifecycle)).verdict for state in verdicts}
    assert found == verdicts


def test_an_unknown_worker_is_told_with_what_was_meant() -> None:
    known = [worker("i-0aaa"), worker("i-0bbb")]
    assert choose(known, ["i-0bbb", "i-0bbb"], "dev") == [known[1]]
    with pytest.raises(PreconditionError, match="dev has no worker i-0aab") as caught:
        choose(known, ["i-0aab"], "dev")
    assert "did you mean i-0aaa?" in (caught.value.hint or "")


WORKERS = st.lists(
    st.builds(
        worker,
        st.integers(0, 9).map("i-{}".format),
        st.sampled_from(STATES),
        st.sampled_from(["InService", "Terminating:Wait"]),
        st.sampled_from(["chat", "reason"]),
    ),
    unique_by=lambda w: w.instance_id,
)


@given(WORKERS, st.sets(st.integers(0, 9).map("i-{}".format)))
def test_only_a_fleet_that_loses_its_last_ready_worker_is_asked_about(
    found: list[Worker], names: set[str]
) -> None:
    asked = without_ready(found, [w for w in found if w.instance_id in names])
    for fleet in ("chat", "reason"):
        ready = {w.instance_id for w in found if w.fleet == fleet and w.serves}
        assert (fleet in asked) == (bool(ready) and ready <= names)


@pytest.fixture
def session(endpoint: str) -> Session:
    environ = emulator_environ(os.environ, endpoint, "us-east-1")
    return Session("us-east-1", "123456789012", endpoint, environ)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("SGLCTL_STATE_DIR", str(tmp_path))
    return Context(ROOT, "local", "text", yes=True, dry_run=False, verbose=False)


@pytest.fixture
def agents(session: Session, context: Context, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two ready workers."""
    name = "sgl-local-chat-ondemand"
    ids = make_group(session, name, 2)
    made = Agents(dict.fromkeys(sorted(ids), "ready"))
    desired = load(context.config_dir, "local")
    commands: Any = made
    fleets = Fleets(context, desired, session, commands)
    monkeypatch.setattr(drain, "open_fleets", lambda _: fleets)
    yield made
    scaling = session.client("autoscaling")
    scaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
    session.client("ec2").delete_launch_template(LaunchTemplateName=name)


def audit(context: Context) -> list[dict[str, Any]]:
    file = log_file(context)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_drain_is_waited_for_and_audited(context: Context, agents: Agents) -> None:
    first, _ = agents.states
    done = drain.drain(context, [first], Options(wait=True))
    assert done is not None
    assert done.to_text() == f"{first} is drained"
    assert [(line["action"], line["workers"]) for line in audit(context)] == [
        ("workers drain", [first])
    ]


def test_draining_twice_asks_the_agent_once(
    context: Context, agents: Agents, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = agents.states
    for _ in range(2):
        drain.drain(context, [first], Options())
    assert agents.scripts == ["sglworker drain"]
    assert f"{first} is drained already: nothing to do." in capsys.readouterr().err


def test_a_deadline_reaches_the_agent(context: Context, agents: Agents) -> None:
    first, _ = agents.states
    drain.drain(context, [first], Options(deadline_s=90))
    assert agents.scripts == ["sglworker drain --deadline 90"]


def test_the_last_ready_worker_is_kept_unless_forced(context: Context, agents: Agents) -> None:
    """`--yes`, which the context has, is no answer to this question."""
    both = list(agents.states)
    with pytest.raises(PreconditionError, match="no ready worker of chat would be left"):
        drain.drain(context, both, Options())
    assert agents.scripts == []
    drain.drain(context, both, Options(force=True))
    assert set(agents.states.values()) == {"drained"}


def test_several_are_drained_together_or_none(context: Context, agents: Agents) -> None:
    first, second = agents.states
    agents.states[second] = "booting"
    with pytest.raises(PreconditionError, match=f"cannot drain: {second} is booting"):
        drain.drain(context, [first, second], Options(force=True))
    assert agents.states[first] == "ready"


def test_a_drain_that_failed_half_way_says_where_it_was_done(
    context: Context, agents: Agents
) -> None:
    first, second = agents.states
    agents.refuse[second] = "too early"
    expected = rf"{second}: too early \(done on {first}\)"
    with pytest.raises(HostError, match=expected):
        drain.drain(context, [first, second], Options(force=True))
    assert audit(context)[0]["outcome"] == "failed"


def test_two_drains_at_once_are_warned_of(
    context: Context, agents: Agents, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each saw the other's worker ready when it asked."""
    first, second = agents.states

    def meanwhile(*args: Any) -> None:
        run_on(*args)
        agents.states[second] = "drained"

    monkeypatch.setattr("sglctl.operations.drain.run_on", meanwhile)
    drain.drain(context, [first], Options())
    assert f"undo: sglctl workers undrain {first}" in capsys.readouterr().err


def test_a_finished_drain_is_taken_back(context: Context, agents: Agents) -> None:
    first, _ = agents.states
    drain.drain(context, [first], Options(wait=True))
    drain.undrain(context, [first], Options())
    assert agents.scripts[-1] == "sglworker undrain"
    assert agents.states[first] == "starting"


def test_a_dry_run_drains_nothing(
    context: Context, agents: Agents, capsys: pytest.CaptureFixture[str]
) -> None:
    dry = Context(context.root, "local", "text", yes=True, dry_run=True, verbose=False)
    assert drain.drain(dry, list(agents.states), Options()) is None
    assert agents.scripts == []
    assert "Nobody would serve chat then." in capsys.readouterr().err


class Line:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def update(self, text: str) -> None:
        self.texts.append(text)


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait(*looks: Mapping[str, AgentState], timeout_s: float = 60) -> tuple[Any, list[str]]:
    remaining, line, clock = list(looks), Line(), Clock()

    def look(names: Sequence[str]) -> Mapping[str, AgentState]:
        answer = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        return {name: answer[name] for name in names}

    seen = drain.until(
        "drained", frozenset({"draining"}), look, list(looks[0]),
        timeout_s=timeout_s, line=line, clock=clock, sleep=clock.sleep,
    )  # fmt: skip
    return seen, line.texts


def test_a_wait_goes_on_through_silence_and_ends_with_the_instance() -> None:
    busy = AgentState("draining", "", 2, 1)
    silent, gone, done = AgentState("unreachable"), AgentState("gone"), AgentState("drained")
    seen, texts = wait({"a": busy, "b": done}, {"a": silent, "b": busy}, {"a": gone, "b": busy})
    assert {name: agent.state for name, agent in seen.items()} == {"a": "gone", "b": "drained"}
    assert texts == ["a draining (2 in flight, 1 queued)", "a unreachable (load unknown)"]


def test_a_drain_somebody_took_back_ends_the_wait() -> None:
    with pytest.raises(HostError, match="a is ready instead of drained: 2 generations"):
        wait({"a": AgentState("draining", "", 1, 0)}, {"a": AgentState("ready", "2 generations")})


def test_a_wait_ends_at_its_deadline_with_what_is_left() -> None:
    with pytest.raises(WaitTimeoutError, match="not drained after 9 s: a draining"):
        wait({"a": AgentState("draining", "", 1, 0)}, timeout_s=9)


def test_cut_requests_are_told() -> None:
    cut = drain.Changed("drain", {"i-1": AgentState("drained", cut_streams=3)})
    assert cut.to_text() == "i-1 is drained, 3 requests cut by the deadline"


def test_a_list_has_a_row_for_every_worker() -> None:
    text = WorkerList("dev", (worker("i-1"), worker("i-2", "draining", in_flight=4))).to_text()
    assert [line.split()[:5] for line in text.splitlines()[1:]] == [
        ["i-1", "chat", "ready", "InService", "0"],
        ["i-2", "chat", "draining", "InService", "4"],
    ]
    assert WorkerList("dev", ()).to_text() == "dev has no workers."


def test_a_followed_journal_goes_on_after_the_cursor() -> None:
    asked: list[str] = []
    answers = ["one\ntwo\n-- cursor: s=1\n", "-- No entries --\n", "three\n-- cursor: s=2\n"]

    def ask(script: str) -> str:
        asked.append(script)
        return answers[len(asked) - 1]

    lines = worker_logs.journal(ask, 2, forever=True, sleep=lambda _: None)
    assert [next(lines) for _ in range(3)] == ["one", "two", "three"]
    assert "--lines=2" in asked[0]
    assert all("--after-cursor='s=1'" in script for script in asked[1:])


def test_a_journal_too_long_for_an_answer_says_so() -> None:
    lines = list(worker_logs.journal(lambda _: "x" * 20 + "\ny\n" * 12_000, 9, forever=False))
    assert lines[0] == "[earlier lines did not fit into one answer]"
