"""What happens to one instance on demand, through the emulator's own routes.

POST   /_sglocal/spot-notice/<instance id>  {"seconds": 120}
POST   /_sglocal/rebalance/<instance id>
POST   /_sglocal/maintenance/<instance id>  {"code": "instance-retirement", "seconds": 3600}
DELETE /_sglocal/notices/<instance id>      take back what it was told
POST   /_sglocal/vanish/<instance id>       its host is gone, and nobody was told
"""

from __future__ import annotations

from typing import Any

from sglocal.aws.emulator import Emulator
from sglocal.aws.notices import DEFAULT_EVENT_S, DEFAULT_NOTICE_S, Notices
from sglocal.errors import LocalError

LONGEST_S = 86_400
ROUTES = ("spot-notice", "rebalance", "maintenance", "notices", "vanish")


class NoticeRoutes:
    """What the routes do."""

    def __init__(self, emulator: Emulator, notices: Notices) -> None:
        self._emulator, self._notices = emulator, notices

    def __call__(
        self, method: str, route: str, instance_id: str, given: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The answer, None where there is no such route. Raises LocalError for a bad request."""
        if (method, route) == ("DELETE", "notices"):
            self._notices.withdraw(instance_id)
            return {"instance_id": instance_id}
        if method != "POST" or route == "notices":
            return None
        return {"instance_id": instance_id, **self._post(route, instance_id, given)}

    def _post(self, route: str, instance_id: str, given: dict[str, Any]) -> dict[str, Any]:
        if route == "spot-notice":
            seconds = _seconds(route, given, DEFAULT_NOTICE_S)
            notice = self._notices.interrupt(instance_id, seconds)
            return {"time": notice.ends_at.isoformat()}
        if route == "rebalance":
            return {"time": self._notices.rebalance(instance_id).isoformat()}
        if route == "maintenance":
            seconds = _seconds(route, given, DEFAULT_EVENT_S)
            code = str(given.get("code", "system-maintenance"))
            event = self._notices.schedule(instance_id, code, seconds)
            return {"event_id": event.event_id, "not_before": event.not_before.isoformat()}
        self._vanish(instance_id)
        return {}

    def _vanish(self, instance_id: str) -> None:
        """Kill the host behind EC2's back; the emulator notices as it would a crash."""
        with self._emulator.lock:
            instance = self._emulator.instance(instance_id)
            if instance is None or instance.state != "running":
                raise LocalError(f"{instance_id} is not a running instance")
        # In the host's own queue: never beside a launch or a stop of the same host.
        driver = self._emulator.driver
        self._emulator.jobs.submit(instance_id, lambda: driver.terminate(instance_id))


def _seconds(route: str, given: dict[str, Any], default: float) -> float:
    seconds = given.get("seconds", default)
    if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_S:
        raise LocalError(f'{route}: "seconds" must be a number from 0 to {LONGEST_S}')
    return float(seconds)
