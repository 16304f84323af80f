"""One fleet as requests see it: its workers that may be chosen, its bounds, its queue.

Pure but for the counters: no I/O, and time is passed in (monotonic seconds).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from sglrouter.models import FleetRoute
from sglrouter.serving.admission import Admission
from sglrouter.serving.tiers import Stop, stops_of

if TYPE_CHECKING:
    from sglrouter.fleet.workers import Worker
    from sglrouter.serving.placement import Placement

PAIR = ("prefill", "decode")


class Fleet:
    """`in_flight` counts the requests that hold a place here; those in `queue` hold none.

    `sick`: some ready worker's breaker is not closed. `paired`: prefill and decode are apart.
    `plain`: neither, and some worker is ready; then up to `limit` requests find room unseen.
    """

    __slots__ = (
        "adapters",
        "in_flight",
        "limit",
        "name",
        "paired",
        "plain",
        "queue",
        "ready",
        "route",
        "sick",
        "stops",
    )

    def __init__(self, name: str, route: FleetRoute) -> None:
        self.name = name
        self.ready: tuple[Worker, ...] = ()
        self.adapters: frozenset[str] = frozenset()
        self.paired = self.sick = self.plain = False
        self.in_flight = 0
        self.queue: Admission[Placement] = Admission(route.queue)
        self.configure(route)

    def configure(self, route: FleetRoute) -> None:
        self.route = route
        self.queue.settings = route.queue
        self.stops: tuple[Stop, ...] = stops_of(self.name, route)
        self.limit = route.max_in_flight_per_worker  # while there are fewer no worker is full
        if route.max_in_flight is not None:
            self.limit = min(self.limit, route.max_in_flight)

    def refresh(self, members: Sequence[Worker], now: float, stale_s: float) -> None:
        """`members`: all its workers, whatever their state."""
        ready = tuple(worker for worker in members if worker.ready(now, stale_s))
        if not ready and not any(worker.heard(now, stale_s) for worker in members):
            ready = tuple(worker for worker in members if worker.last_ready(now))
        self.adapters = frozenset().union(*(worker.adapters for worker in members))
        self.paired = {worker.role for worker in ready}.issuperset(PAIR)
        # Half of a pair can answer nothing alone.
        self.ready = ready if self.paired else tuple(of_role(ready, "regular"))
        self.sick = any(not worker.breaker.closed for worker in self.ready)
        self.plain = bool(self.ready) and not (self.paired or self.sick)

    def failed(self, worker: Worker, now: float) -> bool:
        """The worker failed a request. True: it is out of choice from now on.

        Its error rate alone takes it out only while at most half of the ready ones are out.
        """
        out = 1 + sum(not other.breaker.closed for other in self.ready if other is not worker)
        opened = worker.breaker.failed(now, may_eject=2 * out <= len(self.ready))
        self.sick = self.sick or opened
        self.plain = self.plain and not opened
        return opened

    def serves(self, adapter: str) -> bool:
        """Whether a ready worker could take a request, now or later."""
        if not adapter:
            return bool(self.ready)
        return any(adapter in worker.adapters for worker in self.ready)

    def candidates(
        self, tried: Collection[Worker], now: float, adapter: str = "", *, full_too: bool = False
    ) -> Sequence[Worker]:
        """Workers to choose among: ready, not tried, not full (unless `full_too`).

        Those whose breaker is open only if there is no other: refusing would be worse.
        """
        limit = self.route.max_in_flight_per_worker
        roomy = self.in_flight <= limit  # then no worker can be full
        if roomy and not (tried or self.sick or adapter):
            return self.ready
        left = [w for w in self.ready if w not in tried and (not adapter or adapter in w.adapters)]
        healthy = [w for w in left if w.breaker.allows(now)] or left
        if roomy or full_too:
            return healthy
        return [w for w in healthy if w.in_flight < limit]

    def has_room(self, now: float, adapter: str = "") -> bool:
        """Whether one more request may run now."""
        bound = self.route.max_in_flight
        if bound is not None and self.in_flight >= bound:
            return False
        limit = self.route.max_in_flight_per_worker
        if self.in_flight < limit and not adapter:
            return True
        free = [w for w in self.candidates((), now, adapter) if w.in_flight < limit]
        if self.paired:
            return {worker.role for worker in free}.issuperset(PAIR)
        return bool(free)


def of_role(workers: Iterable[Worker], role: str) -> list[Worker]:
    return [worker for worker in workers if worker.role == role]
