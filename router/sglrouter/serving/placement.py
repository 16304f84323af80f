"""Where a request goes: through the tiers of its fleet, into their queues, to their workers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from sglrouter.fleet.fleets import Fleet
from sglrouter.fleet.peers import Peer
from sglrouter.fleet.workers import Worker
from sglrouter.policy import Choice, Policy
from sglrouter.serving import outgoing, pairs, tiers
from sglrouter.serving.attempt import Attempt
from sglrouter.serving.tiers import Stop
from sglrouter.wire.replies import Failure
from sglrouter.wire.upstream import take_idle

NO_WORKER = Failure(503, "no_ready_worker", "No worker is ready; try again.", retry_after_s=2)
QUEUE_FULL = Failure(429, "queue_full", "Every worker is busy, and the queue is full.", None, 1)
QUEUE_TIMEOUT = Failure(429, "queue_timeout", "No worker became free in time.", None, 1)


class Placement(Attempt):
    """A place counts in one fleet's `in_flight` and goes back in `_leave`, to whoever waits."""

    place: Fleet | None = None  # where this request counts as in flight
    waits_for: Fleet | None = None  # in whose queue it stands
    queued_at = waited_s = 0.0
    reason = ""  # why the last worker was chosen
    position = retries = _stop = 0
    admitted = False
    _failed: tuple[Worker, ...] = ()
    _suspect: Worker | None = None  # said 500: the worker's fault, or the request's?

    @abstractmethod
    def _refuse(self, failure: Failure) -> None:
        """Answer with an error; the request is over."""

    # where to

    def start(self) -> None:
        """Serve the request here: at once, where nothing needs a closer look."""
        fleet = self.fleet
        if (
            not fleet.plain
            or fleet.in_flight >= fleet.limit
            or fleet.queue.count
            or self.adapter
            or self.request.key.bounded
        ):
            self._begin_here()
            return
        router = self.router
        router.budget.deposit()
        self._stop = 1
        self._first_byte_s = fleet.stops[0].first_byte_s
        fleet.in_flight += 1
        self.place = fleet
        self._send_to_choice(fleet, router.policies[fleet.name].choose(self.view, fleet.ready))

    def hand_over(self, peer: Peer) -> None:
        """Let the router answer that owns the conversation."""
        self.tier = "peer"
        self._first_byte_s = outgoing.peer_timeout_s(self.fleet)
        self._aim(peer)
        self._send(take_idle(peer, self.router.now))

    def _begin_here(self) -> None:
        router = self.router
        failure = router.admit(self)
        if failure is not None:
            self._refuse(failure)
            return
        self.admitted = True
        router.budget.deposit()
        self._enter(NO_WORKER)

    def _enter(self, failure: Failure) -> None:
        """Go to the next tier that can be asked; without one the client is told `failure`."""
        stops = self.fleet.stops
        while self._stop < len(stops):
            stop = stops[self._stop]
            self._stop += 1
            self._first_byte_s = stop.first_byte_s
            if self._ask_external(stop) if stop.external else self._ask_fleet(stop):
                if self._stop > 1:
                    self.router.metrics.tier_used(self.fleet.name, stop.name)
                return
        self._refuse(failure)

    def _ask_external(self, stop: Stop) -> bool:
        router = self.router
        target = router.externals.get(stop.name)
        known = target is not None and stop.name in router.external_keys
        if target is None or not known or self.request.method != b"POST":
            return False
        if not target.serves(self.request.route.label, self.view.model):
            return False
        self.tier = stop.name
        self._aim(target)
        self._send(take_idle(target, router.now))
        return True

    def _ask_fleet(self, stop: Stop) -> bool:
        fleet = self.router.workers.fleets.get(stop.name)
        if fleet is None or not fleet.serves(self.adapter):
            return False
        self.tier = stop.name
        if fleet.queue or not fleet.has_room(self.router.now, self.adapter):
            return self._wait_for(fleet)
        return self._take_place(fleet)

    def _take_place(self, fleet: Fleet) -> bool:
        fleet.in_flight += 1
        self.place = fleet
        if fleet is not self.fleet:
            self._renamed = tiers.body_for_fleet(self.view, fleet.route, self.adapter)
        if self._next_worker():
            return True
        self._leave()
        return False

    # waiting for a worker

    def _wait_for(self, fleet: Fleet) -> bool:
        now = self.router.clock()
        self.position = fleet.queue.position(self.priority)
        if not fleet.queue.offer(self, self.priority, now):
            if 1 < self._stop < len(self.fleet.stops):  # a full fallback is no reason to give up
                return False
            self._refuse(QUEUE_FULL)
            return True
        self.phase = "queued"
        self.waits_for, self.queued_at = fleet, now
        return True

    def _stop_waiting(self) -> None:
        fleet, self.waits_for = self.waits_for, None
        if fleet is not None:
            fleet.queue.remove(self, self.priority)
            waited = self.router.clock() - self.queued_at
            self.waited_s += waited
            self.router.metrics.queued(fleet.name, waited)

    def proceed(self) -> None:
        """There is room in the fleet it waits for."""
        fleet = self.waits_for
        assert fleet is not None
        self._stop_waiting()
        if not self._take_place(fleet):
            self._enter(NO_WORKER)

    def waited_too_long(self) -> None:
        """A fleet that is full says 429; one that lost its workers, or is gone, has failed."""
        fleet = self.waits_for
        assert fleet is not None
        self._stop_waiting()
        there = self.router.workers.fleets.get(fleet.name) is fleet
        if there and fleet.serves(self.adapter):
            self._refuse(QUEUE_TIMEOUT)
        else:
            self._enter(NO_WORKER)

    # choosing and sending

    def _next_worker(self) -> bool:
        """Send to a worker of the fleet whose place is held; False: none is left to ask."""
        fleet, router = self.place, self.router
        assert fleet is not None
        policy = router.policies.get(fleet.name)
        if policy is None:  # the fleet is no longer in the document
            return False
        workers = fleet.candidates(
            self._failed, router.now, self.adapter, full_too=bool(self._failed)
        )
        route = self.request.route.label
        if fleet.paired and route not in pairs.SINGLE:
            failure = pairs.refusal(route, self.view)
            if failure is not None:
                self._refuse(failure)
                return True
            return self._next_pair(fleet, policy, workers)
        if not workers:
            return False
        self._send_to_choice(fleet, policy.choose(self.view, workers))
        return True

    def _send_to_choice(self, fleet: Fleet, choice: Choice[Worker]) -> None:
        router, worker, reason = self.router, choice.worker, choice.reason
        self.cached_tokens, self._backlog = choice.cached_tokens, choice.new_tokens
        self._ahead = worker.backlog
        worker.backlog += choice.new_tokens
        self.reason = reason
        router.metrics.choices[(fleet.name, reason)] += 1
        self._aim_at_worker(fleet, worker)
        self._send(take_idle(worker, router.now))

    def _next_pair(self, fleet: Fleet, policy: Policy, workers: Sequence[Worker]) -> bool:
        """Prefill where the prefix is, decode where there is least to do."""
        router = self.router
        pair = pairs.choose(policy, self.view, workers)
        if pair is None:
            return False
        choice, decode = pair
        self.cached_tokens = choice.cached_tokens
        choice.worker.last_chosen = next(router.choices)
        self.reason = choice.reason
        router.metrics.chosen(fleet.name, choice.reason)
        self._aim_at_worker(fleet, decode)
        self._half = pairs.PrefillHalf(self, choice.worker, choice.new_tokens)
        self._send_pair(fresh=False)
        return True

    def _leave(self) -> None:
        """Give back the place in the fleet, to whoever waits for it."""
        fleet, self.place = self.place, None
        if fleet is not None:
            fleet.in_flight -= 1
            if fleet.queue.count:
                self.router.pump(fleet)
