"""Look at an environment again and again: repainted on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import NoReturn

from sglctl.aws import router_counters
from sglctl.aws.fleet_state import by_fleet, groups, target_health
from sglctl.aws.router_counters import RouterCounters
from sglctl.context import Context
from sglctl.core.cost import price_of
from sglctl.core.overview import FleetLoad, Overview, cost, fleet_load, rate
from sglctl.core.workers import Worker
from sglctl.errors import SglctlError
from sglctl.failure import failure_of
from sglctl.operations.workers import Fleets, open_fleets

#: Looks in a row that may fail before the watch does.
_FAILURES = 10
Show = Callable[[Overview], None]
Counters = Mapping[str, RouterCounters | None]


@dataclass
class Watch:
    """Remembers the counters of the last look, for rates."""

    fleets: Fleets
    clock: Callable[[], float] = time.monotonic
    _last: tuple[float, Counters] = field(default=(0.0, {}), init=False)

    def look(self) -> Overview:
        """Ask AWS, the load balancer, every agent and every router."""
        context, session = self.fleets.context, self.fleets.session
        found = groups(session, context.environment)
        routers = [member for group in found if group.fleet is None for member in group.members]
        targets = target_health(session, context.environment)
        running = [m.instance_id for m in routers if m.lifecycle == "InService"]
        workers = self.fleets.workers()
        before, (at, now) = self._last, self._count(running)
        self._last = (at, now)
        loads = tuple(
            self._load(name, state.desired, workers, before, (at, now))
            for name, state in by_fleet(found).items()
        )
        billed = [m.instance_type for m in routers]
        billed += [w.instance_type for w in workers if w.agent.state != "stopped"]
        return Overview(
            environment=context.environment,
            at=datetime.now(UTC),
            fleets=loads,
            routers=(sum(state == "healthy" for state, _ in targets.values()), len(routers)),
            usd_per_hour=cost(billed, self._price),
        )

    def _count(self, routers: list[str]) -> tuple[float, Counters]:
        found = router_counters.read(self.fleets.commands, routers) if routers else {}
        return self.clock(), found

    def _price(self, instance_type: str) -> Decimal | None:
        return price_of(self.fleets.desired, instance_type)

    def _load(
        self, name: str, desired: int, workers: list[Worker],
        before: tuple[float, Counters], now: tuple[float, Counters],
    ) -> FleetLoad:  # fmt: skip
        queued = sum(counters.queued.get(name, 0) for counters in now[1].values() if counters)
        speed = rate(_tokens(before[1], name), _tokens(now[1], name), now[0] - before[0])
        return fleet_load(name, desired, workers, queued, speed, self._price)


def _tokens(counters: Counters, fleet: str) -> dict[str, float | None]:
    return {
        name: None if found is None else found.tokens.get(fleet, 0.0)
        for name, found in counters.items()
    }


def watch(
    context: Context, interval_s: float, show: Show, complain: Callable[[str], None]
) -> NoReturn:
    """For ever, until interrupted."""
    forever(Watch(open_fleets(context)).look, interval_s, show, complain)


def forever(
    look: Callable[[], Overview],
    interval_s: float,
    show: Show,
    complain: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> NoReturn:
    """A look that fails is told and made again; raises what the tenth in a row raised."""
    from botocore.exceptions import BotoCoreError, ClientError

    failed = 0
    while True:
        try:
            seen = look()
        except (SglctlError, BotoCoreError, ClientError) as error:
            failed += 1
            if failed >= _FAILURES:
                raise
            complain(failure_of(error).message)
        else:
            failed = 0
            show(seen)
        sleep(interval_s)


@contextmanager
def screen() -> Iterator[tuple[Show, Callable[[str], None]]]:
    """What shows an overview and a complaint on stdout: in place, where that is a terminal."""
    import click

    if not sys.stdout.isatty():
        yield lambda seen: click.echo(seen.to_line()), lambda text: click.echo(text, err=True)
        return
    from rich.live import Live
    from rich.text import Text

    last = ""
    with Live(Text("looking ..."), auto_refresh=False) as live:

        def show(seen: Overview) -> None:
            nonlocal last
            last = seen.to_text()
            live.update(Text(last), refresh=True)

        def complain(text: str) -> None:
            live.update(Text(f"{last}\n\nnot read: {text}"), refresh=True)

        yield show, complain
