"""How far a Terraform run is. Pure: a state, and the next one for each event."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sglctl.terraform.events import Event, PlannedEvent, RefreshEvent, ResourceEvent


@dataclass(frozen=True)
class Progress:
    """`active`: address → (action, seconds since its start)."""

    total: int = 0
    done: int = 0
    failed: int = 0
    read: int = 0
    active: dict[str, tuple[str, float]] = field(default_factory=dict)

    def sentence(self) -> str:
        """`12/73 done; aws_lb.router create 30 s (+2)`."""
        if not self.total and not self.active:
            return f"{self.read} resources read" if self.read else "starting"
        text = f"{self.done}/{max(self.total, self.done + len(self.active))} done"
        if self.failed:
            text += f", {self.failed} failed"
        if self.active:
            address, (action, seconds) = max(self.active.items(), key=lambda item: item[1][1])
            more = f" (+{len(self.active) - 1})" if len(self.active) > 1 else ""
            text += f"; {address} {action} {seconds:.0f} s{more}"
        return text


def advance(state: Progress, event: Event) -> Progress:
    """The state after an event; events about nothing countable change nothing."""
    if isinstance(event, RefreshEvent):
        return replace(state, read=state.read + event.complete)
    if isinstance(event, PlannedEvent):
        return replace(state, total=state.total + (event.action != "read"))
    if not isinstance(event, ResourceEvent) or event.action == "read":
        return state
    active = dict(state.active)
    if event.phase in ("start", "progress"):
        active[event.address] = (event.action, event.elapsed_s)
        return replace(state, active=active)
    active.pop(event.address, None)
    if event.phase == "errored":
        return replace(state, active=active, failed=state.failed + 1)
    return replace(state, active=active, done=state.done + 1)
