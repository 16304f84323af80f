"""Live progress on stderr: one moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from sglctl.core.progress import Progress, advance
from sglctl.output import say
from sglctl.terraform.events import Event, ResourceEvent

#: Seconds between plain lines that only say that something still runs.
_STILL_S = 15.0


class Line(Protocol):
    """Where the newest state is shown."""

    def update(self, text: str) -> None: ...


class _Plain:
    """Prints a text when it changes, at most every `_STILL_S`."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._last = time.monotonic()
        self._shown = ""
        say(f"{title} ...")

    def update(self, text: str) -> None:
        now = time.monotonic()
        if text != self._shown and now - self._last >= _STILL_S:
            self._last, self._shown = now, text
            say(f"  {self._title}: {text}")


@contextmanager
def live(title: str) -> Iterator[Line]:
    """A line that follows what goes on; says how long it took at the end."""
    started = time.monotonic()
    if not sys.stderr.isatty():
        yield _Plain(title)
    else:
        from rich.console import Console
        from rich.markup import escape

        console = Console(stderr=True)

        class _Moving:
            def update(self, text: str) -> None:
                status.update(f"{escape(title)}: {escape(text)}")

        with console.status(escape(title)) as status:
            yield _Moving()
    say(f"{title}: {time.monotonic() - started:.1f} s")


class TerraformDisplay:
    """Shows a Terraform run's events; finished and failed resources are printed as lines."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._state = Progress()

    def __call__(self, event: Event) -> None:
        self._state = advance(self._state, event)
        if isinstance(event, ResourceEvent) and event.action != "read":
            if event.phase == "complete":
                say(f"  {event.action} {event.address} ({event.elapsed_s:.0f} s)")
            elif event.phase == "errored":
                say(f"  FAILED {event.action} {event.address}")
        self._line.update(self._state.sentence())
