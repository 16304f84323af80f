"""Faults through the emulator's own routes.

POST   /_sglocal/faults           {"api": "RunInstances", "code": "InsufficientInstanceCapacity", …}
GET    /_sglocal/faults           those in force
DELETE /_sglocal/faults[/<id>]    end all, or one
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sglocal.aws.emulator import Emulator
from sglocal.aws.fault_list import FaultList, parse_fault
from sglocal.errors import LocalError


class FaultRoutes:
    """What the routes do, under the emulator's lock."""

    def __init__(self, emulator: Emulator, faults: FaultList) -> None:
        self._emulator, self._faults = emulator, faults

    def __call__(self, method: str, rest: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """The answer, None where there is no such route. Raises LocalError for a bad request."""
        with self._emulator.lock:
            if (method, rest) == ("POST", ""):
                return {"id": self._faults.add(parse_fault(given))}
            if (method, rest) == ("GET", ""):
                return {"faults": [{"id": n, **asdict(f)} for n, f in self._faults.active.items()]}
            if method == "DELETE":
                return self._end(rest)
        return None

    def _end(self, number: str) -> dict[str, Any]:
        if not number:
            self._faults.clear()
        elif not (number.isdigit() and self._faults.end(int(number))):
            raise LocalError(f"faults: there is no fault {number}")
        return {"faults": len(self._faults.active)}
