"""A worker's circuit breaker. Pure: monotonic seconds are passed in.

closed → (failures in a row, or too many of the last ones) → open → (time) → half-open: one request
probes the worker and either closes the breaker or opens it for twice as long
(M. Nygard, "Release It!", 2007; outlier ejection by error rate as in Envoy,
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier).
"""

from __future__ import annotations

from enum import Enum

from sglrouter.models import Breaker as Settings


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """The last `window` outcomes are bits of one number, the newest lowest; 1 is a failure."""

    __slots__ = (
        "_open_s",
        "_outcomes",
        "_probes",
        "_seen",
        "_settings",
        "_spotless",
        "_streak",
        "opened_until",
        "probe",
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open_s = 0.0  # how long it was last opened; 0: closed since it last proved itself
        self.opened_until = 0.0  # 0: closed
        self.probe = self._probes = 0  # number of the probe that runs, and of the last one
        self._close()

    def _close(self) -> None:
        self._outcomes = self._seen = self._streak = 0
        self._spotless = False  # closed, and a whole window of successes: one more says nothing
        self.opened_until = 0.0
        self.probe = 0

    def configure(self, settings: Settings) -> None:
        """The document changed: what is open stays open."""
        self._settings = settings
        self._spotless = False

    @property
    def closed(self) -> bool:
        return self.opened_until == 0.0

    def state(self, now: float) -> State:
        if self.closed:
            return State.CLOSED
        return State.OPEN if now < self.opened_until else State.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether a request may be sent: closed, or half-open and nobody probes yet."""
        return self.closed or (now >= self.opened_until and not self.probe)

    def sent(self, now: float) -> int:
        """A request goes to the worker. Not 0: it is this probe; then tell how it ended."""
        if self.closed or self.probe or now < self.opened_until:
            return 0
        self._probes += 1
        self.probe = self._probes
        return self.probe

    def abandoned(self, probe: int) -> None:
        """The probe ended, perhaps without a verdict, e.g. as its client left: another may probe.

        By its number, since a request sent before may have given the verdict meanwhile.
        """
        if self.probe == probe:
            self.probe = 0

    def succeeded(self) -> None:
        """The worker began to answer."""
        if self._spotless:
            return
        if not self.closed:
            self._close()
        self._streak = 0
        self._record(0)
        if self._open_s and self._seen >= self._settings.window:
            self._open_s = 0.0  # well for a whole window: the next opening is a short one again
            self._spotless = not self._outcomes

    def failed(self, now: float, *, may_eject: bool = True) -> bool:
        """The worker failed a request. True: this opened the breaker.

        `may_eject` False: the error rate alone does not open it (failures in a row do).
        """
        if not self.closed:
            if now < self.opened_until:  # sent while all were open, or before it opened
                return False
            self._open(now)
            return True
        self._streak += 1
        self._record(1)
        if self._streak >= self._settings.failures or (may_eject and self._too_many()):
            self._open(now)
            return True
        return False

    def _record(self, outcome: int) -> None:
        window = self._settings.window
        self._outcomes = (self._outcomes << 1 | outcome) & ((1 << window) - 1)
        self._seen = min(window, self._seen + 1)
        self._spotless = not self._outcomes and self._seen == window and not self._open_s

    def _too_many(self) -> bool:
        window = self._settings.window
        errors = self._outcomes.bit_count()
        return self._seen >= window and errors >= self._settings.error_rate * window

    def _open(self, now: float) -> None:
        settings = self._settings
        self._open_s = min(settings.max_open_s, max(settings.open_s, 2 * self._open_s))
        self.opened_until = now + self._open_s
        self.probe = 0
        self._streak = 0
