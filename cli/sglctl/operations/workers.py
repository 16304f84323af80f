"""The workers of an environment: groups and warm pools as AWS lists them, states as agents say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from sglctl.aws.fleet_state import Group, groups, with_warm
from sglctl.aws.run_command import RunCommand, ScriptResult
from sglctl.aws.session import Session
from sglctl.config.desired import Desired
from sglctl.config.loader import load as load_config
from sglctl.context import Context
from sglctl.core.table import table
from sglctl.core.workers import AgentState, Worker, choose
from sglctl.errors import HostError, SglctlError
from sglctl.operations.workspace import connected

_STATE_TIMEOUT_S = 10.0
_PARALLEL = 8
STATE = "sglworker state"


@dataclass(frozen=True)
class Fleets:
    """One environment's workers, and the way to them."""

    context: Context
    desired: Desired
    session: Session
    commands: RunCommand

    @classmethod
    def of(cls, context: Context, desired: Desired, session: Session) -> Fleets:
        return cls(context, desired, session, RunCommand(session.client("ssm")))

    def workers(self) -> list[Worker]:
        """Every worker with its agent's state; one that does not answer hides no other."""
        found = self.listed()
        running = [worker.instance_id for worker in found if worker.agent.state != "stopped"]
        states = agent_states(self.commands, running)
        return [
            replace(worker, agent=states.get(worker.instance_id, worker.agent)) for worker in found
        ]

    def listed(self) -> list[Worker]:
        """The same without asking agents: their state is `unknown`."""
        return workers_of(with_warm(self.session, groups(self.session, self.context.environment)))

    def choose(self, ids: Sequence[str]) -> tuple[list[Worker], list[Worker]]:
        """All workers, and the named ones. Raises PreconditionError for an unknown id."""
        found = self.workers()
        return found, choose(found, ids, self.context.environment)

    def drain_deadline_s(self, fleet: str) -> float:
        """The fleet's; the schema's default for one that config/ no longer has."""
        known = self.desired.environment.fleets.get(fleet)
        return float(known.drain_deadline_s) if known else 600.0


def open_fleets(context: Context) -> Fleets:
    """Load config/ and connect. Raises ConfigError or PreconditionError."""
    desired = load_config(context.config_dir, context.environment)
    return Fleets.of(context, desired, connected(context, desired))


def workers_of(found: Iterable[Group]) -> list[Worker]:
    """The instances of the fleets' groups, warm pools included; no agent was asked."""
    return [
        Worker(
            member.instance_id, group.fleet, group.name, member.lifecycle, member.health,
            member.zone, member.instance_type, unasked(member.lifecycle),
        )
        for group in found
        if group.fleet is not None
        for member in (*group.members, *group.warm)
    ]  # fmt: skip


def unasked(lifecycle: str) -> AgentState:
    """What is known of a worker without its agent."""
    if lifecycle.endswith((":Stopped", ":Hibernated")):
        return AgentState("stopped", "in the warm pool")
    return AgentState("unknown")


def agent_states(commands: RunCommand, instance_ids: Sequence[str]) -> dict[str, AgentState]:
    """Every worker's state, asked one by one: one that cannot be reached hides no other."""

    def ask(instance_id: str) -> AgentState:
        try:
            results = commands.run([instance_id], STATE, timeout_s=_STATE_TIMEOUT_S)
        except SglctlError as error:
            return AgentState("unreachable", error.message)
        return parse_state(results[instance_id])

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return dict(zip(instance_ids, pool.map(ask, instance_ids), strict=True))


def parse_state(result: ScriptResult) -> AgentState:
    """`sglworker state` prints its state document. Pure."""
    if not result.ok:
        return AgentState("unreachable", complaint(result))
    try:
        raw = json.loads(result.stdout)
        deadline = raw.get("drain_deadline")
        return AgentState(
            state=str(raw["state"]),
            reason=str(raw.get("reason", "")),
            in_flight=int(raw["in_flight"]),
            queued=int(raw["queued"]),
            release=str(raw.get("release", "")),
            cache_hit_rate=float(raw["cache_hit_rate"]) if "cache_hit_rate" in raw else None,
            cut_streams=int(raw["cut_streams"]) if "cut_streams" in raw else None,
            drain_deadline=None if deadline is None else str(deadline),
        )
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        return AgentState("unreachable", f"the agent's answer cannot be read: {error!r}")


def complaint(result: ScriptResult) -> str:
    """The last line of what a failed script said, without its "Error: "."""
    text = (result.stderr or result.stdout or result.status).strip()
    last = text.splitlines()[-1] if text else result.status
    return last.removeprefix("Error: ")


@dataclass(frozen=True)
class WorkerList:
    environment: str
    workers: tuple[Worker, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "workers": [asdict(worker) for worker in self.workers],
        }

    def to_text(self) -> str:
        if not self.workers:
            return f"{self.environment} has no workers."
        head = ("WORKER", "FLEET", "STATE", "LIFECYCLE", "IN FLIGHT", "QUEUED", "TYPE", "ZONE",
                "REASON")  # fmt: skip
        rows = [
            (w.instance_id, w.fleet, w.agent.state, w.lifecycle, _or_dash(w.agent.in_flight),
             _or_dash(w.agent.queued), w.instance_type, w.zone, w.agent.reason[:60])
            for w in self.workers
        ]  # fmt: skip
        return "\n".join(table([head, *rows]))


def list_workers(context: Context, fleet: str | None, state: str | None) -> WorkerList:
    """Every worker, or those of a fleet, or in a state."""
    found = open_fleets(context).workers()
    return WorkerList(
        context.environment,
        tuple(w for w in found if fleet in (None, w.fleet) and state in (None, w.agent.state)),
    )


@dataclass(frozen=True)
class WorkerDetail:
    """`document` is the agent's state document; empty where it does not answer."""

    worker: Worker
    document: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.worker), "document": self.document}

    def to_text(self) -> str:
        facts = {k: v for k, v in asdict(self.worker).items() if k != "agent"}
        own = {k: v for k, v in self.document.items() if k not in (*facts, "version")}
        own = own or {"state": self.worker.agent.state, "reason": self.worker.agent.reason}
        rows = [(key, _plain(value)) for key, value in (facts | own).items()]
        return "\n".join(table(rows))


def show_worker(context: Context, instance_id: str) -> WorkerDetail:
    """One worker. Raises PreconditionError when there is none of this id."""
    fleets = open_fleets(context)
    (worker,) = choose(fleets.listed(), [instance_id], context.environment)
    if worker.agent.state == "stopped":
        return WorkerDetail(worker, {})
    try:
        result = fleets.commands.run([instance_id], STATE, timeout_s=_STATE_TIMEOUT_S)[instance_id]
    except SglctlError as error:
        return WorkerDetail(replace(worker, agent=AgentState("unreachable", error.message)), {})
    agent = parse_state(result)
    document = {} if agent.state == "unreachable" else json.loads(result.stdout)
    return WorkerDetail(replace(worker, agent=agent), document)


def run_on(fleets: Fleets, ids: Sequence[str], script: str, timeout_s: float) -> None:
    """Run a script that must succeed everywhere.

    Raises HostError that says where it failed and, of several workers, where it did not.
    """
    results = fleets.commands.run(ids, script, timeout_s=timeout_s)
    failed = [result for result in results.values() if not result.ok]
    if failed:
        done = [result.instance_id for result in results.values() if result.ok]
        said = "; ".join(f"{result.instance_id}: {complaint(result)}" for result in failed)
        raise HostError(
            said + (f" (done on {', '.join(done)})" if done else ""),
            hint=f"sglctl workers show --env {fleets.context.environment} {failed[0].instance_id}",
        )


def run_on_one(fleets: Fleets, instance_id: str, script: str, timeout_s: float) -> str:
    """What the script printed. Raises HostError when it failed."""
    result = fleets.commands.run([instance_id], script, timeout_s=timeout_s)[instance_id]
    if not result.ok:
        raise HostError(f"{instance_id}: {complaint(result)}", hint="sglctl workers list")
    return result.stdout


def _or_dash(value: object) -> object:
    return "-" if value is None else value


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value in (None, "") else str(value)
