"""Spot interruption notices on demand.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
A notice shows in instance metadata at once; when its time is up the instance is terminated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sglocal.aws.emulator import Emulator
from sglocal.errors import LocalError

DEFAULT_NOTICE_S = 120.0


@dataclass(frozen=True)
class Notice:
    """An interruption announced. `due`: clock time of the termination."""

    given_at: datetime
    ends_at: datetime
    due: float


class SpotNotices:
    """Notices by instance id."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._notices: dict[str, Notice] = {}

    def give(self, instance_id: str, seconds: float = DEFAULT_NOTICE_S) -> Notice:
        """Announce that the instance ends in `seconds`.

        Raises LocalError for an instance that is unknown, not running or not Spot.
        """
        with self.emulator.lock:
            instance = self.emulator.instance(instance_id)
            if instance is None or instance.state != "running":
                raise LocalError(f"{instance_id} is not a running instance")
            if instance.lifecycle != "spot":
                raise LocalError(
                    f"{instance_id} is not a Spot instance; only those are interrupted"
                )
            now = self.emulator.clock.now()
            due = self.emulator.clock() + seconds
            notice = Notice(now, now + timedelta(seconds=seconds), due)
            self._notices[instance_id] = notice
            return notice

    def get(self, instance_id: str) -> Notice | None:
        """The notice of an instance, or None."""
        return self._notices.get(instance_id)

    def step(self) -> None:
        """Terminate what is due."""
        with self.emulator.lock:
            now = self.emulator.clock()
            due = [i for i, notice in self._notices.items() if notice.due <= now]
            for instance_id in due:
                del self._notices[instance_id]
                instance = self.emulator.instance(instance_id)
                if instance is not None and instance.state != "terminated":
                    self.emulator.ec2.terminate_instances([instance_id])


def install(emulator: Emulator) -> SpotNotices:
    """Watch the notices."""
    notices = SpotNotices(emulator)
    emulator.every("spot-notices", 0.5, notices.step)
    return notices
