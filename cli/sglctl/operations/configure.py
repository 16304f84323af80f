"""Ansible on live hosts, a few at a time: drain, apply, undrain, wait until routable again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sglctl.ansible.inventory import LiveHost, batches, build_inventory
from sglctl.ansible.keys import ephemeral_key
from sglctl.ansible.runner import AnsibleRunner, TaskEvent
from sglctl.aws.run_command import RunCommand
from sglctl.errors import AnsibleError, WaitTimeoutError

Say = Callable[[str], None]
_READY_TIMEOUT_S = 900.0
_POLL_S = 1.0


@dataclass(frozen=True)
class Configured:
    """What changed, by instance id (0: the host already was as described)."""

    changed: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        return {"changed": dict(self.changed)}

    def to_text(self) -> str:
        if not self.changed:
            return "No running hosts to configure."
        rows = [f"{host}  {count} changed" for host, count in sorted(self.changed.items())]
        return "\n".join([*rows, f"{len(rows)} hosts configured"])


@dataclass(frozen=True)
class Configure:
    """One run over an environment's live hosts."""

    commands: RunCommand
    runner: AnsibleRunner
    environment: str
    hub: str | None
    region: str
    user: str
    variables: Callable[[LiveHost], Mapping[str, Any]]
    drain_deadline_s: float
    say: Say

    def run(self, hosts: Sequence[LiveHost], batch: int) -> Configured:
        """Configure hosts batch by batch; stops at the first batch that fails.

        A worker that was drained is undrained also when its batch fails: it still works as it
        was. Raises AnsibleError or WaitTimeoutError.
        """
        changed: dict[str, int] = {}
        for group in batches(hosts, batch):
            ids = [host.instance_id for host in group]
            self.say(f"{group[0].role}s {', '.join(ids)}")
            if group[0].role == "worker":
                changed |= self._workers(group, ids)
            else:
                changed |= self._play(group, ids)
        return Configured(changed)

    def _workers(self, group: Sequence[LiveHost], ids: Sequence[str]) -> dict[str, int]:
        self.say("  draining ...")
        try:
            self._script(ids, f"sglworker drain --wait {self.drain_deadline_s:.0f}", "drain")
            changed = self._play(group, ids)
        finally:
            # The agent may just be restarting (its unit changed), which undrains it as well.
            undrain = "for i in $(seq 30); do sglworker undrain && exit 0; sleep 1; done; exit 1"
            self._script(ids, undrain, "undrain")
        self._wait_ready(ids)
        return changed

    def _play(self, group: Sequence[LiveHost], ids: Sequence[str]) -> dict[str, int]:
        with ephemeral_key(self.commands, ids, self.user, self.environment) as key:
            inventory = build_inventory(
                group, hub=self.hub, region=self.region, user=self.user, key_file=key,
                variables=self.variables,
            )  # fmt: skip
            result = self.runner.run(
                "configure.yml", inventory, on_task=self._report,
                extra_vars={"configure_serial": len(group)},
            )  # fmt: skip
        return {host: result.changed.get(host, 0) for host in ids}

    def _report(self, event: TaskEvent) -> None:
        if event.changed or event.status in ("failed", "unreachable"):
            mark = "changed" if event.changed else event.status
            self.say(f"  {mark}: {event.host} {event.task}")

    def _script(self, ids: Sequence[str], script: str, what: str) -> None:
        timeout_s = self.drain_deadline_s + 60
        for result in self.commands.run(ids, script, timeout_s=timeout_s).values():
            if not result.ok:
                raise AnsibleError(
                    f"{result.instance_id} could not {what} (exit {result.exit_code}): "
                    f"{(result.stderr or result.stdout).strip()[-300:]}",
                    hint="look at the worker: sglctl status",
                )

    def _wait_ready(self, ids: Sequence[str]) -> None:
        self.say("  waiting until ready ...")
        deadline = time.monotonic() + _READY_TIMEOUT_S
        waiting = list(ids)
        while waiting:
            states = self.commands.run(waiting, "sglworker state", timeout_s=30)
            waiting = [i for i, result in states.items() if _state(result.stdout) != "ready"]
            if waiting and time.monotonic() > deadline:
                raise WaitTimeoutError(
                    f"{', '.join(waiting)} not ready {_READY_TIMEOUT_S:.0f} s after configuring",
                    hint="look at the agent's journal: journalctl -u sglworker",
                )
            if waiting:
                time.sleep(_POLL_S)


def _state(stdout: str) -> str | None:
    try:
        return str(json.loads(stdout)["state"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
