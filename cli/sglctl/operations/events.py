"""Read both histories: our audit log on this machine, the groups' activities in AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sglctl.aws.fleet_state import activities, groups
from sglctl.aws.session import Session
from sglctl.config.loader import load
from sglctl.context import Context
from sglctl.core.events import Event, in_order, of_activity, of_audit
from sglctl.operations.audit import log_file
from sglctl.operations.workspace import connected
from sglctl.output import say

Source = Literal["all", "sglctl", "scaling"]
_POLL_S = 2.0


@dataclass(frozen=True)
class History:
    events: tuple[Event, ...]

    def to_json(self) -> dict[str, Any]:
        return {"events": [event.to_json() for event in self.events]}

    def to_text(self) -> str:
        return "\n".join(event.to_text() for event in self.events) or "No events."


def history(context: Context, source: Source, since: datetime) -> Callable[[], list[Event]]:
    """A reader of the events since then; each call reads anew.

    Raises ConfigError or PreconditionError where AWS is asked and cannot be.
    """
    session = None
    if source != "sglctl":
        session = connected(context, load(context.config_dir, context.environment))

    warned: set[int] = set()

    def read() -> list[Event]:
        own = [] if source == "scaling" else list(_audited(context, warned))
        return in_order([*own, *(_scaled(context, session, since) if session else ())], since)

    return read


def _audited(context: Context, warned: set[int]) -> Iterator[Event]:
    """A line that cannot be read is told once, and hides no other."""
    file = log_file(context)
    if not file.exists():
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, text in enumerate(lines, start=1):
            try:
                yield of_audit(json.loads(text), f"audit {number}")
            except (ValueError, KeyError, TypeError) as error:
                if number not in warned:
                    say(f"Warning: {file}:{number} cannot be read: {error!r}")
                warned.add(number)


def _scaled(context: Context, session: Session, since: datetime) -> Iterator[Event]:
    for group in groups(session, context.environment):
        yield from map(of_activity, activities(session, group.name, since))


def follow(
    read: Callable[[], list[Event]], sleep: Callable[[float], None] = time.sleep
) -> Iterator[Event]:
    """Every event once, for ever; an activity again when its outcome changes."""
    told: set[str] = set()
    while True:
        for event in read():
            if event.key not in told:
                told.add(event.key)
                yield event
        sleep(_POLL_S)
