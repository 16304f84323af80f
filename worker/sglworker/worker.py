"""What the agent knows about its worker; everything it tells comes from here."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sglworker.drain import Drain, Load, Reading, Trigger, Verdict, judge
from sglworker.errors import NotAllowedError
from sglworker.faults import Liveness, Starts
from sglworker.machine import Event, Machine, utc_now
from sglworker.models import FleetDocument, StateName, UserData, WorkerState
from sglworker.timeline import Timeline

logger = logging.getLogger(__name__)

#: So many readings in a row without an answer, and a ready worker is not ready any more.
LOST_AFTER_READS = 3
#: States in which an operator may drain; earlier there is nothing to drain, and no way back.
_OPERATOR_DRAINS: tuple[StateName, ...] = ("starting", "warming_up", "ready", "draining", "drained")
_DEFAULT_DRAIN_DEADLINE_S = 600.0


@dataclass(frozen=True)
class Identity:
    """Who this instance is."""

    instance_id: str = ""
    address: str = ""
    region: str = ""


@dataclass
class Worker:
    """State, load and drain of one worker. No I/O; clocks are given."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = utc_now
    identity: Identity = Identity()
    user_data: UserData | None = None
    fleet: FleetDocument | None = None
    engine_version: str = ""
    hydrated_bytes: int = 0
    weights_bytes: int | None = None
    hydration_mbps: float | None = None
    timeline: Timeline = field(default_factory=Timeline)
    #: The drain that the last agent was in, whether it was over, and its reason.
    resumed: tuple[Drain, bool, str] | None = None
    cut_streams: int = 0
    drain: Drain | None = None
    load: Load = field(default_factory=lambda: Load(0, 0))
    load_at: float | None = None
    adapters: tuple[str, ...] = ()
    silent_reads: int = 0
    read_failures: int = 0
    write_failures: int = 0
    engine_starts: int = 0
    starts: Starts = field(default_factory=Starts)
    liveness: Liveness = field(default_factory=lambda: Liveness(0.0))
    transitions: Counter[StateName] = field(default_factory=Counter)
    machine: Machine = field(init=False)
    started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.started_at = self.monotonic()
        self.timeline.mark("agent")
        self.machine = Machine(listener=self._moved, now=self.wall)

    @property
    def state(self) -> StateName:
        return self.machine.state

    def _moved(self, old: StateName, new: StateName, reason: str) -> None:
        self.transitions[new] += 1
        self.timeline.enter(new)
        if new == "ready":
            self.liveness = Liveness(self.monotonic())
        logger.info("%s -> %s%s", old, new, f": {reason}" if reason else "")

    def observe(self, reading: Reading) -> bool:
        """Take a reading of the engine; True when it was lost just now."""
        now = self.monotonic()
        if isinstance(reading, Load):
            self.load, self.load_at, self.silent_reads = reading, now, 0
            if reading.busy and self.state == "ready":
                self.timeline.mark("first_request")
        else:
            self.silent_reads += 1
            self.read_failures += 1
        if self.drain is not None and self.state == "draining":
            self.drain = self.drain.observe(reading, now)
        if self.state == "ready" and self.silent_reads >= LOST_AFTER_READS:
            word = "refuses connections" if reading == "down" else "does not answer"
            self.machine.apply(
                Event.ENGINE_LOST, f"the engine {word} ({self.silent_reads} reads in a row)"
            )
            return True
        return False

    def engine_started(self, pid: int) -> None:
        """`sglworker engine` is about to become the engine, under this process id."""
        self.engine_starts += 1
        self.starts = self.starts.started(pid, self.monotonic())

    def check(self, generates: bool) -> bool:
        """Take a deep check of the engine; True when it hangs, as known just now."""
        now = self.monotonic()
        self.liveness = self.liveness.checked(generates, now)
        if self.state != "ready" or not self.liveness.hung(now):
            return False
        silent_s = now - self.liveness.good_at
        self.machine.apply(Event.ENGINE_LOST, f"the engine generates nothing for {silent_s:.0f} s")
        return True

    def start_drain(self, trigger: Trigger, reason: str, deadline_s: float | None = None) -> None:
        """Drain, or join the drain that is on. `deadline_s` None: the fleet's.

        Raises NotAllowedError when an operator may not drain now.
        """
        if trigger is Trigger.OPERATOR and self.state not in _OPERATOR_DRAINS:
            raise NotAllowedError(f"a worker that is {self.state} cannot be drained yet")
        if deadline_s is None:
            fleet = self.fleet
            deadline_s = fleet.drain_deadline_s if fleet else _DEFAULT_DRAIN_DEADLINE_S
        now = self.monotonic()
        if self.drain is not None:
            if self.drain.also(trigger, now + deadline_s).trigger is not self.drain.trigger:
                logger.info("the drain goes on for %s: %s", trigger.value, reason)
            self.drain = self.drain.also(trigger, now + deadline_s)
            return
        self.drain = Drain(trigger, now, now + deadline_s, busy=self.load.busy)
        self.machine.apply(Event.DRAIN, f"{trigger.value}: {reason}")

    def resume_drain(self) -> bool:
        """Go on with the last agent's drain, its deadline included; False when there was none."""
        if self.resumed is None:
            return False
        (self.drain, over, reason), self.resumed = self.resumed, None
        self.machine.apply(Event.DRAIN, f"resumed: {reason}")
        if over:
            self.machine.apply(Event.DRAINED, reason)
        return True

    def finish_drain(self) -> Verdict | None:
        """End the drain when it is over; its verdict then."""
        if self.drain is None or self.state != "draining":
            return None
        verdict = judge(self.drain, self.monotonic())
        if verdict is not None:
            self.cut_streams += verdict.cut
            if verdict.cut:
                logger.warning("the drain cut %d requests: %s", verdict.cut, verdict.reason)
            self.machine.apply(Event.DRAINED, f"{self.drain.trigger.value}: {verdict.reason}")
        return verdict

    def undrain(self) -> None:
        """Take new requests again. Raises NotAllowedError unless an operator drained."""
        if self.drain is None:
            raise NotAllowedError(f"the worker is {self.state}, not draining")
        if not self.drain.can_undo:
            raise NotAllowedError(
                f"this drain is for {self.drain.trigger.value}; only an operator's can be undone"
            )
        self.machine.apply(Event.UNDRAIN, "undrained by the operator")
        self.drain = None
        self.silent_reads = 0

    def hold(self, reason: str) -> None:
        """The drain for the warm pool is over: the instance is warm again."""
        self.machine.apply(Event.HELD, reason)
        self.drain = None
        self.starts = Starts()  # what the pool stops and starts again does not crash

    def load_age_s(self) -> float | None:
        return None if self.load_at is None else max(0.0, self.monotonic() - self.load_at)

    def document(self) -> WorkerState:
        """`GET /state`."""
        fleet, told = self.fleet, self.user_data
        age = self.load_age_s()
        port = fleet.engine_port if fleet else FleetDocument.model_fields["engine_port"].default
        return WorkerState(
            instance_id=self.identity.instance_id,
            environment=told.environment if told else "",
            fleet=told.fleet if told else "",
            role=fleet.role if fleet else "regular",
            release=told.release if told else "",
            model=fleet.model if fleet else "",
            served_model_name=fleet.served_model_name if fleet else "",
            engine=fleet.engine if fleet else "",
            engine_version=self.engine_version,
            engine_url=f"http://{self.identity.address}:{port}" if self.identity.address else "",
            state=self.state,
            since=self.machine.since,
            reason=self.machine.reason,
            in_flight=self.load.in_flight,
            queued=self.load.queued,
            token_usage=self.load.token_usage,
            cache_hit_rate=self.load.cache_hit_rate,
            load_age_s=None if age is None else round(age, 3),
            hydrated_bytes=self.hydrated_bytes,
            drain_deadline=self._drain_deadline(),
            cut_streams=self.cut_streams,
            bootstrap_port=self._bootstrap_port(),
            adapters=self.adapters,
            max_running_requests=self.load.max_running_requests,
            weights_bytes=self.weights_bytes,
            hydration_mbps=self.hydration_mbps,
            timeline=self.timeline.told(self.wall()),
            warm_up_s=self.timeline.warm_ups,
        )

    def _bootstrap_port(self) -> int | None:
        fleet = self.fleet
        return fleet.disaggregation.bootstrap_port if fleet and fleet.role == "prefill" else None

    def _drain_deadline(self) -> datetime | None:
        if self.drain is None or self.state != "draining":
            return None
        left = timedelta(seconds=self.drain.deadline_at - self.monotonic())
        return (self.wall() + left).astimezone(UTC).replace(microsecond=0)
