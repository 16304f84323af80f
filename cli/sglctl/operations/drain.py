"""Drain and undrain workers by hand: decide for all, tell the agents, wait with progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from sglctl.context import Context
from sglctl.core.workers import (
    AgentState,
    Decision,
    Worker,
    load,
    may_drain,
    may_undrain,
    without_ready,
)
from sglctl.errors import HostError, PreconditionError, WaitTimeoutError
from sglctl.operations.audit import audited
from sglctl.operations.display import Line, live
from sglctl.operations.workers import Fleets, agent_states, open_fleets, run_on
from sglctl.output import is_interactive, say

_COMMAND_TIMEOUT_S = 30.0
#: Beyond the drain's own deadline, at which the agent gives up by itself.
GRACE_S = 30.0
#: An undrained worker shows first that it generates.
_READY_TIMEOUT_S = 120.0
_POLL_S = 1.0


@dataclass(frozen=True)
class Options:
    """`deadline_s` None: the fleet's. `timeout_s` None: the deadline and a little."""

    deadline_s: float | None = None
    wait: bool = False
    timeout_s: float | None = None
    force: bool = False


@dataclass(frozen=True)
class Changed:
    """Each worker's state at the end; `gone` where its instance is no more."""

    action: str
    workers: Mapping[str, AgentState]

    def to_json(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "workers": [
                {"instance_id": name, "state": agent.state, "in_flight": agent.in_flight,
                 "queued": agent.queued, "cut_streams": agent.cut_streams}
                for name, agent in self.workers.items()
            ],
        }  # fmt: skip

    def to_text(self) -> str:
        return "\n".join(f"{name} {self._told(agent)}" for name, agent in self.workers.items())

    @staticmethod
    def _told(agent: AgentState) -> str:
        cut = f", {agent.cut_streams} requests cut by the deadline" if agent.cut_streams else ""
        busy = f" ({load(agent)})" if agent.state == "draining" else ""
        return f"is {agent.state}{busy}{cut}"


def drain(context: Context, ids: Sequence[str], options: Options) -> Changed | None:
    """Routers choose others for new requests; those in flight finish. None after a dry run.

    Raises PreconditionError, with nothing drained, when one of them cannot be or (without
    `force`, or a yes) a fleet would have no ready worker left.
    """
    fleets = open_fleets(context)
    found, chosen = fleets.choose(ids)
    todo = to_act_on([may_drain(worker) for worker in chosen], "drain")
    last = without_ready(found, todo)
    if context.dry_run:
        warning = f" Nobody would serve {', '.join(last)} then." if last else ""
        say(f"Would drain {names(todo) or 'nothing'}.{warning}")
        return None
    confirm_last(last, options.force, "Drain")
    if todo:
        deadline = "" if options.deadline_s is None else f" --deadline {options.deadline_s:g}"
        with audited(context, "workers drain", workers=[w.instance_id for w in todo]):
            run_on(fleets, [w.instance_id for w in todo], f"sglworker drain{deadline}",
                   _COMMAND_TIMEOUT_S)  # fmt: skip
    if not options.force and not last:
        _warn_of_others(fleets, todo)
    if not options.wait:
        return _now("drain", fleets, chosen)
    longest = max(fleets.drain_deadline_s(worker.fleet) for worker in chosen)
    timeout_s = options.timeout_s or (options.deadline_s or longest) + GRACE_S
    with live("Draining") as line:
        seen = until(
            "drained", frozenset({"draining"}), lambda left: look(fleets, left),
            [w.instance_id for w in chosen], timeout_s=timeout_s, line=line,
        )  # fmt: skip
    return Changed("drain", seen)


def undrain(context: Context, ids: Sequence[str], options: Options) -> Changed | None:
    """Take a drain back, also a finished one. None after a dry run.

    Raises PreconditionError when one of them is being terminated, with nothing undrained.
    """
    fleets = open_fleets(context)
    _, chosen = fleets.choose(ids)
    todo = to_act_on([may_undrain(worker) for worker in chosen], "undrain")
    if context.dry_run:
        say(f"Would undrain {names(todo) or 'nothing'}.")
        return None
    if todo:
        with audited(context, "workers undrain", workers=[w.instance_id for w in todo]):
            run_on(fleets, [w.instance_id for w in todo], "sglworker undrain", _COMMAND_TIMEOUT_S)
    if not options.wait:
        return _now("undrain", fleets, chosen)
    with live("Waiting until ready") as line:
        seen = until(
            "ready", frozenset({"starting", "warming_up"}), lambda left: look(fleets, left),
            [w.instance_id for w in chosen],
            timeout_s=options.timeout_s or _READY_TIMEOUT_S, line=line,
        )  # fmt: skip
    return Changed("undrain", seen)


def until(
    goal: str,
    on_the_way: frozenset[str],
    look: Callable[[Sequence[str]], Mapping[str, AgentState]],
    ids: Sequence[str],
    *,
    timeout_s: float,
    line: Line,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, AgentState]:
    """Look until every worker is in the state `goal`, or gone. No answer is waited through.

    Raises HostError when one moved elsewhere (somebody took the drain back), WaitTimeoutError.
    """
    deadline, seen = clock() + timeout_s, dict[str, AgentState]()
    last: dict[str, AgentState] = {}
    while True:
        states = look([name for name in ids if name not in seen])
        waiting = []
        for name, agent in states.items():
            if agent.state in (goal, "gone"):
                seen[name] = _with_cuts(agent, last.get(name))
                continue
            _must_pass(name, agent, goal, on_the_way)
            waiting.append(f"{name} {agent.state} ({load(agent)})")
            last[name] = _with_cuts(agent, last.get(name))
        if not waiting:
            return {name: seen[name] for name in ids}
        line.update("; ".join(waiting))
        if clock() >= deadline:
            raise WaitTimeoutError(
                f"not {goal} after {timeout_s:.0f} s: {'; '.join(waiting)}",
                hint="they go on; wait longer with --timeout, or look: sglctl workers list",
            )
        sleep(_POLL_S)


def _with_cuts(agent: AgentState, last: AgentState | None) -> AgentState:
    """What is gone cannot tell any more how many requests its deadline cut."""
    if agent.cut_streams is not None or last is None:
        return agent
    return replace(agent, cut_streams=last.cut_streams)


def _must_pass(name: str, agent: AgentState, goal: str, on_the_way: frozenset[str]) -> None:
    if agent.state not in on_the_way and agent.state != "unreachable":
        raise HostError(
            f"{name} is {agent.state} instead of {goal}: {agent.reason or 'no reason told'}",
            hint=f"sglctl workers show {name}",
        )


def confirm_last(fleets: Sequence[str], force: bool, action: str) -> None:
    """Ask before a fleet loses its last ready worker; --yes does not answer this question.

    Raises PreconditionError where nobody can be asked.
    """
    if not fleets or force:
        return
    said = f"no ready worker of {', '.join(fleets)} would be left: requests would queue or fail"
    if not is_interactive():
        raise PreconditionError(said, hint="scale out first (sglctl scale), or repeat with --force")
    click.confirm(f"{said[0].upper()}{said[1:]}. {action} all the same?", abort=True, err=True)


def to_act_on(decisions: Iterable[Decision], action: str) -> list[Worker]:
    """Those to act on; all or nothing."""
    found = list(decisions)
    refused = [decision.sentence() for decision in found if decision.verdict == "refuse"]
    if refused:
        raise PreconditionError(
            f"cannot {action}: {'; '.join(refused)}",
            hint="nothing was changed; sglctl workers list shows every worker",
        )
    for decision in found:
        if decision.verdict == "nothing to do":
            say(f"{decision.sentence()}: nothing to do.")
    return [decision.worker for decision in found if decision.verdict == "act"]


def _warn_of_others(fleets: Fleets, drained: Sequence[Worker]) -> None:
    """Two drains at once each see the other's worker ready; the later look sees neither."""
    if not drained:
        return
    now = fleets.workers()
    for fleet in sorted({worker.fleet for worker in drained}):
        if not any(worker.serves for worker in now if worker.fleet == fleet):
            say(
                f"Warning: {fleet} has no ready worker left, somebody else drained too; undo: "
                f"sglctl workers undrain {names(w for w in drained if w.fleet == fleet)}"
            )


def _now(action: str, fleets: Fleets, chosen: Sequence[Worker]) -> Changed:
    return Changed(action, look(fleets, [worker.instance_id for worker in chosen]))


def look(fleets: Fleets, ids: Sequence[str]) -> dict[str, AgentState]:
    """States; `gone` for a silent worker that no group lists any more."""
    states = agent_states(fleets.commands, ids)
    if any(agent.state == "unreachable" for agent in states.values()):
        there = {worker.instance_id for worker in fleets.listed()}
        gone = {name: AgentState("gone", "terminated") for name in ids if name not in there}
        states |= gone
    return states


def names(workers: Iterable[Worker]) -> str:
    return " ".join(worker.instance_id for worker in workers)
