"""How workers came into service: scaling activities joined with what agents tell. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sglctl.core.workers import Worker
from sglworker.models import Phase, WorkerState

Kind = Literal["cold", "warm", "prepared", "unknown"]
KINDS: tuple[Kind, ...] = ("cold", "warm", "prepared", "unknown")
#: Phase → how it is called where it is drawn, in the order of a launch.
PHASES: Mapping[str, str] = {
    "request": "request", "launch": "launch", "boot": "boot", "agent": "agent",
    "hydrate": "hydrate", "engine_start": "engine start", "warm_up": "warm-up",
}  # fmt: skip

_COMING = frozenset({"booting", "hydrating", "starting", "warming_up"})
#: Activities and the agent's launch are told in whole seconds, of two clocks.
_ROUNDING = timedelta(seconds=2)
#: https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-verify-scaling-activity.html
_LAUNCHING = re.compile(
    r"Launching a new EC2 instance(?P<how>| into warm pool| from warm pool): (?P<id>i-[0-9a-f]+)"
)
_CAUSE = re.compile(r"\bAt (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_KIND_OF: Mapping[str, Kind] = {
    "": "cold",
    " into warm pool": "prepared",
    " from warm pool": "warm",
}


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Span(_Read):
    """`start_s` counts from the request. `ended` False: it still went on when looked at."""

    name: str
    start_s: float
    seconds: float
    ended: bool = True


class Arrival(_Read):
    """One worker's way into service, or (`prepared`) into the warm pool.

    `kind`: `cold` was launched, `warm` came from the pool; `unknown` where Auto Scaling no longer
    tells (six weeks), and the request is missing. `ready_s`, `first_request_s` count from the
    request, None: not yet.
    """

    instance_id: str
    fleet: str
    instance_type: str
    kind: Kind
    state: str
    begun: datetime
    spans: tuple[Span, ...]
    ready_s: float | None
    first_request_s: float | None

    @property
    def end_s(self) -> float:
        """Of the last phase drawn."""
        return max((span.start_s + span.seconds for span in self.spans), default=0.0)

    @property
    def outcome(self) -> str:
        """What stands at the end of its bar: seconds to ready or prepared, else its state."""
        if self.ready_s is not None:
            return f"{self.ready_s:.1f} s"
        if self.kind == "prepared" and all(span.ended for span in self.spans):
            return f"{self.end_s:.1f} s"
        return self.state

    def seconds(self, name: str) -> float | None:
        return next((span.seconds for span in self.spans if span.name == name), None)


@dataclass(frozen=True)
class Launch:
    """What a scaling activity tells of a launch; `requested`: what made the group want it."""

    instance_id: str
    kind: Kind
    requested: datetime


def launch_of(activity: Mapping[str, Any]) -> Launch | None:
    """None for an activity that launched no instance. The cause begins with the request's time.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html
    """
    found = _LAUNCHING.match(str(activity.get("Description", "")))
    if found is None:
        return None
    started: datetime = activity["StartTime"]
    cause = _CAUSE.search(str(activity.get("Cause", "")))
    asked = datetime.fromisoformat(cause[1]) if cause else started
    return Launch(found["id"], _KIND_OF[found["how"]], min(asked, started).astimezone(UTC))


def arrival(
    worker: Worker, told: WorkerState, launch: Launch | None, now: datetime
) -> Arrival | str:
    """The worker's newest way into service; a text where there is none to draw, and why."""
    kind: Kind = launch.kind if launch else "unknown"
    if worker.warm and kind != "prepared":
        return "is back in the warm pool"
    starts = _starts(told.timeline)
    if kind in ("warm", "unknown"):
        starts = _since_pool(starts, launch)
    if not starts:
        return "has told no phase yet"
    begun = min(starts[0][1], launch.requested) if launch else starts[0][1]
    offsets = {name: round((at - begun).total_seconds(), 3) for name, at in starts}
    end = now if told.state in _COMING else told.since
    return Arrival(
        instance_id=worker.instance_id, fleet=worker.fleet, instance_type=worker.instance_type,
        kind=kind, state=told.state, begun=begun,
        spans=_spans(offsets, (end - begun).total_seconds(), kind),
        ready_s=offsets.get("ready"), first_request_s=offsets.get("first_request"),
    )  # fmt: skip


def _starts(phases: Sequence[Phase]) -> list[tuple[str, datetime]]:
    """Begins as exact as durations are: only the first one's date, of whole seconds, is used."""
    starts, at = [], phases[0].at if phases else None
    for phase in phases:
        assert at is not None
        starts.append((phase.name, at))
        at = at + timedelta(seconds=phase.seconds or 0.0)
    return starts


def _since_pool(
    starts: list[tuple[str, datetime]], launch: Launch | None
) -> list[tuple[str, datetime]]:
    """Without what came before the pool: the agent of a Running instance remembers it."""
    names = [name for name, _ in starts]
    left = starts[names.index("warmed") + 1 :] if "warmed" in names else starts
    if launch is None:
        return left
    return [(name, at) for name, at in left if at >= launch.requested - _ROUNDING]


def _spans(offsets: Mapping[str, float], end_s: float, kind: Kind) -> tuple[Span, ...]:
    """From one begin to the next; the last is open, and a pool's waiting is no phase."""
    marks = [(name, max(0.0, at)) for name, at in offsets.items()]
    spans = [] if kind == "unknown" else [Span(name="request", start_s=0, seconds=marks[0][1])]
    for (name, at), following in zip(marks, [*marks[1:], None], strict=True):
        if name in ("ready", "first_request", "warmed"):
            break
        until = following[1] if following else max(at, end_s)
        seconds = round(until - at, 3)
        spans.append(Span(name=name, start_s=at, seconds=seconds, ended=following is not None))
    return tuple(spans)


def in_order(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Cold ones first, beside them the warm ones; each kind in the order of its requests."""
    return sorted(arrivals, key=lambda one: (KINDS.index(one.kind), one.begun, one.instance_id))


def comparison(arrivals: Sequence[Arrival]) -> str | None:
    """Warm against cold, by medians of request to ready; None where one of them is missing."""
    middle = {
        kind: median(times)
        for kind in ("cold", "warm")
        if (times := [a.ready_s for a in arrivals if a.kind == kind and a.ready_s is not None])
    }
    if len(middle) < 2 or not middle["warm"]:
        return None
    ratio = middle["cold"] / middle["warm"]
    return (
        f"median from request to ready: cold {middle['cold']:.1f} s, "
        f"warm {middle['warm']:.1f} s ({ratio:.1f} to 1)"
    )


def axis_s(arrivals: Iterable[Arrival]) -> float:
    """Seconds from the first request to the latest end; never so few that nothing can be drawn."""
    return max(0.1, *(one.end_s for one in arrivals))


def ticks(end_s: float, most: int = 8) -> list[float]:
    """Round seconds from 0 on for an axis that ends at `end_s`, `most` of them at most."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
    step = next((s for s in steps if end_s / s < most), end_s or 1.0)
    return [round(step * i, 1) for i in range(int(end_s / step) + 1)]
