"""Runs one case: calls, waits and compares, on the emulator or on AWS.

Every duration is in seconds; on AWS it is multiplied by `Runner.patience`, because EC2 takes
minutes where the emulator's hosts on paper take a second.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from case_files import Case, Step
from listening import listen
from scaling_seen import Seen, World

# How often a state that must hold is looked at.
HOLDS_POLL_S = 5.0
NAME = re.compile(r"^\$(\w+)(?:\.(-?\d+))?$")


class Runner(Seen):
    """Runs one case; `patience` stretches every wait."""

    def __init__(self, world: World, name: str, *, patience: float = 1.0) -> None:
        super().__init__(world, name)
        self.patience = patience
        self.names: dict[str, Any] = {"name": name}

    def run(self, case: Case) -> None:
        """Raise AssertionError with the step that does not hold."""
        self.world.create_group(self.name, case.given)
        for number, step in enumerate(case.steps, start=1):
            try:
                self._step(step)
            except AssertionError as error:
                raise AssertionError(f"step {number} of {case.name!r}: {error}") from error

    def _step(self, step: Step) -> None:
        if step.wait is not None:
            self.world.advance(step.wait * self.patience)
        if step.fault is not None:
            self.world.fault(self._filled(step.fault))
        if step.template_version is not None:
            self.world.new_template_version(self.name, used=step.template_version == "used")
        if step.listen is not None:
            listen(self.world.client, self.name, self._filled(step.listen))
        if step.call is not None:
            for _ in range(step.repeat):
                self._call(step)
                self.world.advance(step.every)
        if step.ec2 is not None:
            self._power(step.ec2, self._filled(step.instance))
        if step.expect is not None:
            self._expect(step, step.expect)
        for name, value in step.remember.items():
            self.names[name] = self._filled(value)

    def _call(self, step: Step) -> None:
        assert step.call is not None
        arguments = self._filled(step.arguments)
        needs_group = step.call not in (
            "set_instance_health",
            "terminate_instance_in_auto_scaling_group",
        )
        if needs_group and step.service == "autoscaling":
            arguments = {"AutoScalingGroupName": self.name, **arguments}
        said = self._said(step, arguments)
        if step.refused is None:
            assert said is None, f"{step.call}: {said}"
        else:
            assert said is not None, f"{step.call} was not refused"
            assert said["Code"] == step.refused.code, said
            assert re.search(step.refused.message, said["Message"]), said

    def _said(self, step: Step, arguments: dict[str, Any]) -> dict[str, str] | None:
        """The error that a call ends with, or None."""
        try:
            getattr(self.world.client(step.service), str(step.call))(**arguments)
        except ClientError as error:
            refusal: dict[str, str] = error.response["Error"]
            return refusal
        return None

    def _power(self, what: str, instance_id: str) -> None:
        getattr(self.world.client("ec2"), f"{what}_instances")(InstanceIds=[instance_id])

    # -- names ------------------------------------------------------------------------------------

    def _filled(self, value: Any) -> Any:
        """Replace names by what they stand for: `$name`, `$group.0` (oldest first), `$warm.0`,
        `$leaving.0` (on their way out), `$policy.0` (ARN), `$alarm.0` (of target tracking, high
        before low).
        """
        if isinstance(value, dict):
            return {self._filled(key): self._filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        match = NAME.match(value) if isinstance(value, str) else None
        if match is None:
            return value
        name, position = match[1], match[2]
        if position is None:
            return self.names[name]
        if name == "policy":
            return self.policies()[int(position)]["PolicyARN"]
        if name == "alarm":
            found = [alarm["AlarmName"] for p in self.policies() for alarm in p["Alarms"]]
            return sorted(found)[int(position)]
        members = {"group": self.members, "warm": self.warm, "leaving": self.leaving}[name]()
        return self._oldest_first(members)[int(position)]

    def _oldest_first(self, members: list[dict[str, Any]]) -> list[str]:
        ids = [member["InstanceId"] for member in members]
        answer = self.world.client("ec2").describe_instances(InstanceIds=ids)
        found = [i for r in answer["Reservations"] for i in r["Instances"]]
        found.sort(key=lambda i: (i["LaunchTime"], ids.index(i["InstanceId"])))
        return [i["InstanceId"] for i in found]

    # -- what is expected -------------------------------------------------------------------------

    def _expect(self, step: Step, expected: dict[str, Any]) -> None:
        deadline = self.world.clock() + step.within * self.patience
        while wrong := self._differences(expected):
            assert self.world.clock() < deadline, f"not within {step.within:g} s: {wrong}"
            self.world.advance(1.0)
        until = self.world.clock() + (step.holds or 0.0) * self.patience
        while (left := until - self.world.clock()) > 0:
            self.world.advance(min(HOLDS_POLL_S, left))
            wrong = self._differences(expected)
            assert not wrong, f"does not hold for {step.holds:g} s: {wrong}"

    def _differences(self, expected: dict[str, Any]) -> list[str]:
        wrong = []
        for key, value in expected.items():
            if key == "metadata" and not self.world.emulated:
                continue  # readable on the instance only
            wrong += [f"{key}: {said}" for said in _CHECKS[key](self, self._filled(value))]
        return wrong

    def _states(self, members: list[dict[str, Any]], value: Mapping[str, int]) -> list[str]:
        seen = dict(Counter(m["LifecycleState"] for m in members))
        return [] if seen == value else [f"expected {dict(value)}, got {seen}"]

    def _types(self, value: Mapping[str, int]) -> list[str]:
        seen = dict(Counter(m["InstanceType"] for m in self.members()))
        return [] if seen == value else [f"expected {dict(value)}, got {seen}"]

    def _versions(self, value: Mapping[str, int]) -> list[str]:
        seen = self.versions()
        return [] if seen == value else [f"expected {dict(value)}, got {seen}"]

    def _each(self, value: Mapping[str, Any], look: Callable[[str], Any]) -> list[str]:
        seen = {key: look(key) for key in value}
        return [] if seen == value else [f"expected {dict(value)}, got {seen}"]

    def _fields(self, value: Mapping[str, Any]) -> list[str]:
        group = self.group()
        return self._each(value, lambda key: group.get(key))

    def _history(self, value: list[Mapping[str, str]]) -> list[str]:
        """Each wanted activity is there: every field matches its regular expression."""
        seen = self.activities()
        missing = [want for want in value if not any(_matches(want, a) for a in seen)]
        return [f"no activity like {dict(want)} in {seen[:4]}" for want in missing]

    def _refreshing(self, value: Mapping[str, Any]) -> list[str]:
        """The newest refresh: texts match as regular expressions, everything else is equal."""
        seen = self.refresh()
        return [
            f"expected {key} {wanted!r}, got {seen.get(key)!r}"
            for key, wanted in value.items()
            if not _agrees(wanted, seen.get(key))
        ]

    def _among(self, value: Mapping[str, list[str]]) -> list[str]:
        ids = {m["InstanceId"] for m in self.members()}
        wrong = [f"{i} is missing" for i in value.get("in", []) if i not in ids]
        return wrong + [f"{i} is still there" for i in value.get("out", []) if i in ids]

    def _events(self, value: list[Mapping[str, Any]]) -> list[str]:
        """These events came, in any order, and no others."""
        left = self.events()
        for wanted in value:
            found = next((event for event in left if _agrees(wanted, event)), None)
            if found is None:
                return [f"no event like {wanted} in {left}"]
            left = [event for event in left if event is not found]
        return [f"beside what was expected: {left}"] if left else []

    def _policies(self, value: list[Mapping[str, Any]]) -> list[str]:
        """As many as wanted, in their order, with these fields."""
        seen = self.policies()
        if len(seen) == len(value) and all(map(_agrees, value, seen)):
            return []
        return [f"expected {list(value)}, got {seen}"]


def _agrees(wanted: Any, seen: Any) -> bool:
    if isinstance(wanted, str):
        return re.search(wanted, str(seen or "")) is not None
    if isinstance(wanted, dict):
        return isinstance(seen, dict) and all(_agrees(w, seen.get(k)) for k, w in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(seen, list) and len(seen) == len(wanted) and all(map(_agrees, wanted, seen))
        )
    return bool(wanted == seen)


def _matches(wanted: Mapping[str, str], activity: Mapping[str, Any]) -> bool:
    return all(re.search(text, str(activity.get(key, ""))) for key, text in wanted.items())


_TARGET = "meta-data/autoscaling/target-lifecycle-state"
_CHECKS: dict[str, Callable[[Runner, Any], list[str]]] = {
    "group": lambda run, value: run._states(run.members(), value),
    "warm": lambda run, value: run._states(run.warm(), value),
    "zones": lambda run, value: [] if run.zones() == value else [f"{value}, got {run.zones()}"],
    "versions": lambda run, value: run._versions(value),
    "refresh": lambda run, value: run._refreshing(value),
    "fields": lambda run, value: run._fields(value),
    "lifecycle": lambda run, value: run._each(value, run.lifecycle),
    "alarms": lambda run, value: run._each(value, run.alarm),
    "health": lambda run, value: run._each(value, run.health),
    "ec2": lambda run, value: run._each(value, run.ec2_state),
    "types": lambda run, value: run._types(value),
    "metadata": lambda run, value: run._each(value, lambda i: run.world.metadata(i, _TARGET)),
    "members": lambda run, value: run._among(value),
    "events": lambda run, value: run._events(value),
    "policies": lambda run, value: run._policies(value),
    "activities": lambda run, value: run._history(value),
}
