"""What a router counts: one plain method per event, called by the code it happens in.

Each process counts for itself; `dump` and `load_sum` add processes up.
Docs: docs/reference/router.md names every metric and its labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sglrouter.inner import Tally
from sglrouter.telemetry.families import Counter, Family, Histogram, P, Rows
from sglrouter.telemetry.gauges import Gauges

# Seconds; fine where time to first token lives, long where whole generations do.
FIRST_BYTE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 5, 10, 20, 40, 80, 160)
REQUEST_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
# A person reads at about 0.1 s a token, a good engine writes at 0.01.
ITL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2.5)
QUEUE_BUCKETS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80)

# Combinations of labels that are kept ready.
_MAX_TALLIES = 4096

#: A process's numbers on their way to another: family name → rows.
Dump = Mapping[str, Rows]


class Metrics:
    """Counters and histograms of one process, and (after `load_sum`) of several."""

    def __init__(self) -> None:
        self.requests = Counter(
            P + "requests_total", "Requests answered.", "route", "fleet", "tier", "status"
        )
        self.failures = Counter(
            P + "attempt_failures_total",
            "Attempts that ended before a worker's first byte.",
            "fleet",
            "cause",
        )
        self.retries = Counter(
            P + "retries_total", "Requests given to another worker.", "fleet", "cause"
        )
        self.disconnects = Counter(
            P + "disconnects_total",
            "Clients gone before their answer was whole.",
            "fleet",
            "phase",
        )
        self.truncations = Counter(
            P + "truncations_total",
            "Answers that broke after their first byte, and how the client was told.",
            "fleet",
            "told_by",
        )
        self.choices = Counter(P + "choices_total", "Workers chosen, and why.", "fleet", "reason")
        self.refusals = Counter(
            P + "refusals_total",
            "Requests the router refused, by the code it answered.",
            "fleet",
            "code",
        )
        self.breaker_opens = Counter(
            P + "breaker_opened_total", "Workers taken out of choice for failing.", "fleet"
        )
        self.tiers = Counter(
            P + "tier_used_total", "Requests sent to a tier of the fallback chain.", "fleet", "tier"
        )
        self.hops = Counter(
            P + "hops_total", "Requests for another router's conversations.", "outcome"
        )
        self.takeovers = Counter(
            P + "clients_taken_over_total",
            "Clients of a data process that died: waiting for an answer, idle, or lost after all.",
            "state",
        )
        self.document_reloads = Counter(
            P + "reloads_total", "Documents asked to be read again.", "outcome"
        )
        self.key_tokens = Counter(
            P + "tokens_total",
            "Tokens of finished requests: prompt, completion, and of the prompt's the cached.",
            "key",
            "fleet",
            "kind",
        )
        self.cached_tokens = Counter(
            P + "cached_tokens_total",
            "Cached prompt tokens: as the engine reported, and as the router had expected.",
            "fleet",
            "source",
        )
        self.discovery_errors = Counter(
            P + "discovery_errors_total", "Failed reads of the set of workers."
        )
        self.key_errors = Counter(P + "key_errors_total", "Failed reads of keys.")
        self.cloudwatch_errors = Counter(
            P + "cloudwatch_errors_total", "Rounds that did not reach CloudWatch."
        )
        self.first_byte = Histogram(
            P + "first_byte_seconds",
            "Time from the whole request to the worker's first byte.",
            FIRST_BYTE_BUCKETS,
            "fleet",
        )
        self.request = Histogram(
            P + "request_seconds",
            "Time from the whole request to the end of its answer.",
            REQUEST_BUCKETS,
            "fleet",
        )
        self.itl = Histogram(
            P + "itl_seconds",
            "Mean time between two events of a stream, once per finished stream.",
            ITL_BUCKETS,
            "fleet",
        )
        self.queue_wait = Histogram(
            P + "queue_seconds", "Time requests waited for a worker.", QUEUE_BUCKETS, "fleet"
        )
        for counter in (self.discovery_errors, self.key_errors, self.cloudwatch_errors):
            counter[()] = 0  # a rate needs a first value
        self.gauges = Gauges()
        self.others: dict[int, Dump] = {}  # of processes that live, by their number
        self.past: Dump = {}  # of those that ended
        self.tallies: dict[tuple[str, str, str, int, str], Tally] = {}  # see `tally`

    def families(self) -> list[Family]:
        """All of them, in the order they are printed."""
        items = [*vars(self).values(), *vars(self.gauges).values()]
        return [item for item in items if isinstance(item, Counter | Histogram)]

    def tally(self, route: str, fleet: str, tier: str, status: int, key: str) -> Tally:
        """Counts requests with these labels in the families above. `tallies` has those made."""
        tally = Tally(
            (
                (self.requests, (route, fleet, tier, status)),
                *[(self.key_tokens, (key, fleet, k)) for k in ("prompt", "completion", "cached")],
                (self.cached_tokens, (fleet, "engine")),
                (self.cached_tokens, (fleet, "router")),
            ),
            (self.request.buckets(fleet), self.first_byte.buckets(fleet)),
        )
        if len(self.tallies) >= _MAX_TALLIES:
            self.tallies.clear()
        self.tallies[(route, fleet, tier, status, key)] = tally
        return tally

    # what happens

    def answered(self, route: str, fleet: str, tier: str, status: int) -> None:
        self.requests[(route, fleet, tier, status)] += 1

    def attempt_failed(self, fleet: str, cause: str) -> None:
        self.failures[(fleet, cause)] += 1

    def retried(self, fleet: str, cause: str) -> None:
        self.retries[(fleet, cause)] += 1

    def disconnected(self, fleet: str, phase: str) -> None:
        self.disconnects[(fleet, phase)] += 1

    def truncated(self, fleet: str, how: str) -> None:
        self.truncations[(fleet, how)] += 1

    def chosen(self, fleet: str, reason: str) -> None:
        self.choices[(fleet, reason)] += 1

    def refused(self, fleet: str, code: str) -> None:
        self.refusals[(fleet, code)] += 1

    def queued(self, fleet: str, seconds: float) -> None:
        """A request has waited: it got a worker, or gave up."""
        self.queue_wait.observe(fleet, seconds)

    def breaker_opened(self, fleet: str) -> None:
        self.breaker_opens[(fleet,)] += 1

    def tier_used(self, fleet: str, tier: str) -> None:
        self.tiers[(fleet, tier)] += 1

    def hop(self, outcome: str) -> None:
        self.hops[(outcome,)] += 1

    def taken_over(self, counts: Mapping[str, int]) -> None:
        for state, count in counts.items():
            self.takeovers[(state,)] += count

    def reloads(self, outcome: str) -> None:
        self.document_reloads[(outcome,)] += 1

    def discovery_failed(self) -> None:
        self.discovery_errors[()] += 1

    def keys_failed(self) -> None:
        self.key_errors[()] += 1

    def cloudwatch_failed(self) -> None:
        self.cloudwatch_errors[()] += 1

    # several processes

    def dump(self) -> Dump:
        """The numbers as JSON can carry them."""
        return {family.name: family.dump() for family in self.families()}

    def merge(self, dump: Dump) -> None:
        """Add another process's numbers; families this version does not have are left out."""
        for family in self.families():
            family.merge(dump.get(family.name, []))

    def ended(self, process: int) -> None:
        """A process is gone; its counters stay: a sum that falls would look like a restart."""
        total = Metrics.load_sum([self.past, self.others.pop(process, {})])
        self.past = {f.name: f.dump() for f in total.families() if f.kind != "gauge"}

    @classmethod
    def load_sum(cls, dumps: Iterable[Dump]) -> Metrics:
        """New metrics that are the sum of `dumps`."""
        total = cls()
        for dump in dumps:
            total.merge(dump)
        return total
