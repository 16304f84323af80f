"""What goes wrong on purpose: pure, a list of faults and which of them meets a call."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sglocal.errors import LocalError

FIELDS = (
    "api", "code", "message", "zone", "instance_type", "instance_id", "times", "latency_s",
    "probability",
)  # fmt: skip
# Calls that groups make too; their faults are found where instances are started.
LAUNCHING = ("RunInstances", "StartInstances")
# Not a call of the API: what instances ask their metadata service.
METADATA = "InstanceMetadata"
LONGEST_LATENCY_S = 300.0
# Which calls a fault of some probability meets repeats from one run to the next.
SEED = 20261121


@dataclass(frozen=True)
class Fault:
    """One way in which a call fails or is late.

    `api`: the operation, `*` for all but those that start instances, or `InstanceMetadata`; `code`
    empty: only late; `zone`, `instance_type`, `instance_id` empty: any; `times`: how many calls it
    meets, None without end; `probability`: of meeting a call that it could, from above 0 to 1.
    """

    api: str
    code: str = ""
    message: str = ""
    zone: str = ""
    instance_type: str = ""
    instance_id: str = ""
    times: int | None = None
    latency_s: float = 0.0
    probability: float = 1.0

    def meets(self, api: str, zone: str, instance_type: str, instance_id: str = "") -> bool:
        """Whether a call is one that it spoils."""
        named = api not in (*LAUNCHING, METADATA) if self.api == "*" else self.api == api
        placed = self.zone in ("", zone) and self.instance_type in ("", instance_type)
        return named and placed and self.instance_id in ("", instance_id)


def parse_fault(given: Mapping[str, Any]) -> Fault:
    """A fault from a JSON object. Raises LocalError with the field that is wrong."""
    unknown = sorted(given.keys() - set(FIELDS))
    if unknown:
        raise LocalError(f"faults: unknown field {unknown[0]}; known are {', '.join(FIELDS)}")
    for name in ("api", "code", "message", "zone", "instance_type", "instance_id"):
        if not isinstance(given.get(name, ""), str):
            raise LocalError(f'faults: "{name}" must be a string')
    times, latency = given.get("times"), given.get("latency_s", 0)
    if times is not None and (not isinstance(times, int) or times < 1):
        raise LocalError('faults: "times" must be a number from 1')
    if not isinstance(latency, int | float) or not 0 <= latency <= LONGEST_LATENCY_S:
        raise LocalError(f'faults: "latency_s" must be a number from 0 to {LONGEST_LATENCY_S:g}')
    chance = given.get("probability", 1)
    if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 < chance <= 1:
        raise LocalError('faults: "probability" must be a number above 0, at most 1')
    if not given.get("api") or not (given.get("code") or latency):
        raise LocalError('faults: "api" and one of "code" and "latency_s" are needed')
    if latency and given["api"] in LAUNCHING:
        raise LocalError(f"faults: latency_s does not go with {' and '.join(LAUNCHING)}")
    placed = given.get("zone") or given.get("instance_type")
    if placed and given["api"] not in LAUNCHING:
        raise LocalError(f"faults: zone and instance_type go with {' and '.join(LAUNCHING)} only")
    if given.get("instance_id") and given["api"] != METADATA:
        raise LocalError(f"faults: instance_id goes with {METADATA} only")
    return Fault(**{**given, "latency_s": float(latency), "probability": float(chance)})


def _seeded() -> random.Random:
    return random.Random(SEED)  # noqa: S311 (no secret is made of it)


@dataclass
class FaultList:
    """The faults in force, by number. Not thread-safe: hold the emulator's lock."""

    active: dict[int, Fault] = field(default_factory=dict)
    random: Callable[[], float] = field(default_factory=lambda: _seeded().random)
    _left: dict[int, int] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, fault: Fault) -> int:
        """Put a fault in force; its number."""
        number = next(self._numbers)
        self.active[number] = fault
        if fault.times is not None:
            self._left[number] = fault.times
        return number

    def clear(self) -> None:
        """End every fault."""
        self.active.clear()
        self._left.clear()

    def end(self, number: int) -> bool:
        """End one fault; False when there is none of that number."""
        self._left.pop(number, None)
        return self.active.pop(number, None) is not None

    def take(
        self, api: str, zone: str = "", instance_type: str = "", instance_id: str = ""
    ) -> Fault | None:
        """The oldest fault that meets the call, counted as used; None when it goes well."""
        for number, fault in self.active.items():
            if not fault.meets(api, zone, instance_type, instance_id):
                continue
            if fault.probability == 1 or self.random() < fault.probability:
                self._use(number)
                return fault
        return None

    def _use(self, number: int) -> None:
        if number in self._left:
            self._left[number] -= 1
            if self._left[number] == 0:
                del self._left[number], self.active[number]
