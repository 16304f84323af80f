"""What runs: routers, fleets, every worker's own state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sglctl.aws.fleet_state import Group, groups, target_health, with_warm
from sglctl.aws.run_command import RunCommand
from sglctl.aws.session import Session
from sglctl.config.desired import Desired
from sglctl.context import Context
from sglctl.core.table import table
from sglctl.core.workers import AgentState
from sglctl.operations.wait import find_endpoint, router_health
from sglctl.operations.workers import agent_states, unasked


@dataclass(frozen=True)
class Status:
    environment: str
    account: str
    region: str
    emulated: bool
    url: str | None
    ready_workers: int | None
    groups: tuple[Group, ...]
    targets: Mapping[str, tuple[str, str]]
    agents: Mapping[str, AgentState]

    def to_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "account": self.account,
            "region": self.region,
            "emulated": self.emulated,
            "url": self.url,
            "ready_workers": self.ready_workers,
            "groups": [self._group(group) for group in self.groups],
        }

    def _group(self, group: Group) -> dict[str, Any]:
        document = asdict(group)
        for member in (*document["members"], *document["warm"]):
            key = member["instance_id"]
            if group.fleet is None:
                state, reason = self.targets.get(key, ("unregistered", ""))
                member["target"] = {"state": state, "reason": reason}
            elif key in self.agents:
                member["agent"] = asdict(self.agents[key])
        counts = group.state
        return {**document, "in_service": counts.in_service, "warm_ready": counts.warm_ready}

    def to_text(self) -> str:
        where = "emulated on this machine" if self.emulated else "AWS"
        lines = [f"{self.environment}: account {self.account}, {self.region}, {where}"]
        if not self.groups:
            return "\n".join([*lines, "Nothing is deployed."])
        serving = (
            "no answer" if self.ready_workers is None else f"{self.ready_workers} workers ready"
        )
        lines += [f"{self.url or 'no load balancer'}: {serving}", ""]
        head = ("GROUP", "IN SERVICE", "DESIRED", "MIN", "MAX", "PREPARED")
        rows = [
            (g.name, g.state.in_service, g.desired, g.min, g.max,
             "-" if g.warm_min is None else f"{g.state.warm_ready}, min {g.warm_min}")
            for g in self.groups
        ]  # fmt: skip
        lines += [*table([head, *rows]), ""]
        return "\n".join(lines + self._members())

    def _members(self) -> list[str]:
        rows: list[tuple[object, ...]] = [
            ("INSTANCE", "ROLE", "FLEET", "LIFECYCLE", "STATE", "IN FLIGHT", "REASON")
        ]
        for group in self.groups:
            for member in (*group.members, *group.warm):
                if group.fleet is None:
                    state, reason = self.targets.get(member.instance_id, ("unregistered", ""))
                    load: object = "-"
                else:
                    agent = self.agents.get(member.instance_id, unasked(member.lifecycle))
                    state, reason = agent.state, agent.reason
                    load = "-" if agent.in_flight is None else agent.in_flight
                rows.append((member.instance_id, group.role, group.fleet or "-",
                             member.lifecycle, state, load, reason[:60]))  # fmt: skip
        return table(rows)


def look(context: Context, desired: Desired, session: Session) -> Status:
    """Ask AWS, the load balancer, and every worker's agent (by Run Command)."""
    found = with_warm(session, groups(session, context.environment))
    endpoint = find_endpoint(context, desired, session)
    health = router_health(endpoint) if endpoint else None
    workers = [
        member.instance_id
        for group in found
        if group.fleet is not None
        for member in (*group.members, *group.warm)
        if unasked(member.lifecycle).state != "stopped"
    ]
    return Status(
        environment=context.environment,
        account=session.account,
        region=session.region,
        emulated=session.emulated,
        url=endpoint.url if endpoint else None,
        ready_workers=health.ready_workers if health else None,
        groups=tuple(found),
        targets=target_health(session, context.environment),
        agents=agent_states(RunCommand(session.client("ssm")), workers),
    )
