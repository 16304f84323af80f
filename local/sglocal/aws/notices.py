"""What EC2 announces to an instance through its metadata, on demand.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_scheduled_events.html
A notice shows at once, those of Spot instances also as events. When its time has come a Spot
instance is terminated, and one that is scheduled to be stopped or retired is stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from moto.moto_api._internal import mock_random

from sglocal.aws.autoscaling.records import find_member
from sglocal.aws.emulator import Emulator
from sglocal.aws.event_bus import instance_arn, publish
from sglocal.errors import LocalError

DEFAULT_NOTICE_S = 120.0
DEFAULT_EVENT_S = 3600.0
EVENT_LASTS_S = 7200.0
STOPPING = ("instance-stop", "instance-retirement")
EVENT_CODES = (*STOPPING, "instance-reboot", "system-reboot", "system-maintenance")


@dataclass(frozen=True)
class Interruption:
    """The end of a Spot instance. `due`: clock time of the termination."""

    ends_at: datetime
    due: float


@dataclass(frozen=True)
class ScheduledEvent:
    """Maintenance announced. `due`: clock time at which it begins."""

    event_id: str
    code: str
    not_before: datetime
    not_after: datetime
    due: float


@dataclass(frozen=True)
class Announced:
    """Everything that an instance has been told. `rebalance_at`: when the risk was seen."""

    interruption: Interruption | None = None
    rebalance_at: datetime | None = None
    event: ScheduledEvent | None = None


class Notices:
    """Notices by instance id."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._known: dict[str, Announced] = {}

    def interrupt(self, instance_id: str, seconds: float = DEFAULT_NOTICE_S) -> Interruption:
        """Announce that a Spot instance ends in `seconds`.

        Raises LocalError for an instance that is unknown, not running or not Spot.
        """
        with self.emulator.lock:
            instance = self._running(instance_id, spot=True)
            now, due = self.emulator.clock.now(), self.emulator.clock() + seconds
            made = Interruption(now + timedelta(seconds=seconds), due)
            told = self.get(instance_id)
            seen = told.rebalance_at or now
            self._known[instance_id] = replace(told, interruption=made, rebalance_at=seen)
            if told.rebalance_at is None:
                self._tell_risk(instance)
            zone = instance.availability_zone
            detail = {"instance-id": instance_id, "instance-action": "terminate"}
            # The ARN of this event names the zone, not region and account.
            resources = [f"arn:aws:ec2:{zone}:instance/{instance_id}"]
            kind = "EC2 Spot Instance Interruption Warning"
            publish(self.emulator, "aws.ec2", kind, resources, detail)
            return made

    def rebalance(self, instance_id: str) -> datetime:
        """Announce a higher risk of interruption, and nothing more. Raises like `interrupt`."""
        with self.emulator.lock:
            instance = self._running(instance_id, spot=True)
            now = self.emulator.clock.now()
            self._known[instance_id] = replace(self.get(instance_id), rebalance_at=now)
            self._tell_risk(instance)
            return now

    def _tell_risk(self, instance: Any) -> None:
        """To whom it concerns: receivers of events, and the instance's group."""
        resources = [instance_arn(self.emulator, instance.id)]
        kind, detail = "EC2 Instance Rebalance Recommendation", {"instance-id": instance.id}
        publish(self.emulator, "aws.ec2", kind, resources, detail)
        _mark(instance, at_risk=True)

    def schedule(
        self, instance_id: str, code: str, seconds: float = DEFAULT_EVENT_S
    ) -> ScheduledEvent:
        """Announce an event that begins in `seconds`.

        Raises LocalError for an unknown code, or an instance that is unknown or not running.
        """
        if code not in EVENT_CODES:
            raise LocalError(f'maintenance: "code" must be one of {", ".join(EVENT_CODES)}')
        with self.emulator.lock:
            self._running(instance_id, spot=False)
            begins = self.emulator.clock.now() + timedelta(seconds=seconds)
            made = ScheduledEvent(
                f"instance-event-{mock_random.get_random_hex(17)}",
                code,
                begins,
                begins + timedelta(seconds=EVENT_LASTS_S),
                self.emulator.clock() + seconds,
            )
            self._known[instance_id] = replace(self.get(instance_id), event=made)
            return made

    def withdraw(self, instance_id: str) -> None:
        """Take back everything an instance has been told."""
        with self.emulator.lock:
            self._known.pop(instance_id, None)
            _mark(self.emulator.instance(instance_id), at_risk=False)

    def get(self, instance_id: str) -> Announced:
        """What an instance has been told."""
        return self._known.get(instance_id, Announced())

    def step(self) -> None:
        """Do what is due; forget instances that are gone and events that are over."""
        with self.emulator.lock:
            for instance_id, told in list(self._known.items()):
                instance = self.emulator.instance(instance_id)
                if instance is None or instance.state == "terminated":
                    del self._known[instance_id]
                else:
                    self._known[instance_id] = self._due(instance, told)

    def _due(self, instance: Any, told: Announced) -> Announced:
        now = self.emulator.clock()
        if told.interruption is not None and told.interruption.due <= now:
            self.emulator.ec2.terminate_instances([instance.id])
            return Announced()
        if told.event is None or told.event.due > now:
            return told
        if told.event.code in STOPPING and instance.state == "running":
            self.emulator.ec2.stop_instances([instance.id])
        over = self.emulator.clock.now() >= told.event.not_after
        return replace(told, event=None) if over else told

    def _running(self, instance_id: str, *, spot: bool) -> Any:
        instance = self.emulator.instance(instance_id)
        if instance is None or instance.state != "running":
            raise LocalError(f"{instance_id} is not a running instance")
        if spot and instance.lifecycle != "spot":
            raise LocalError(f"{instance_id} is not a Spot instance; only those are interrupted")
        return instance


def _mark(instance: Any, *, at_risk: bool) -> None:
    """For the instance's group, where it has one."""
    group = getattr(instance, "autoscaling_group", None)
    state = None if group is None else find_member(group, instance.id)
    if state is not None:
        state.sgl.at_risk = at_risk


def install(emulator: Emulator) -> Notices:
    """Watch the notices."""
    notices = Notices(emulator)
    emulator.every("notices", 0.5, notices.step)
    return notices
