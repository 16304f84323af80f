"""The other routers of the environment: which of them are alive, and who owns a conversation.

Pure but for the counters: no I/O, time is passed in (monotonic seconds).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sglrouter.fleet.owner import owner
from sglrouter.fleet.workers import Address
from sglrouter.serving.target import Target

# Failed probes in a row, or time without a good one, after which a peer owns nothing.
MAX_FAILED_PROBES = 2
DEAD_S = 1.0


@dataclass(frozen=True, slots=True)
class SeenPeer:
    """A router as it was found; `id` is alike in every router's eyes."""

    id: str
    address: Address


@dataclass(frozen=True, slots=True)
class PeerState:
    """What one process tells another about a peer. `probes`: the good ones so far."""

    id: str
    host: str
    port: int
    alive: bool
    dead: bool
    probes: int


class Peer(Target):
    """Another router, as something a request can be sent to.

    `alive`: it may own conversations; `dead`: it does not answer, so nothing it was sent will be
    answered. Between the two: it turns new requests away and finishes what it has.
    """

    __slots__ = ("alive", "dead", "failures", "id", "probed_at", "probes", "skipped")

    def __init__(self, seen: SeenPeer) -> None:
        super().__init__(seen.id.encode(), seen.address)
        self.id = seen.id
        self.alive = self.dead = False
        self.failures = 0
        self.probes = 0
        self.probed_at = 0.0
        self.skipped = -1  # no request until `probes` is above it

    @property
    def usable(self) -> bool:
        return self.alive and self.probes > self.skipped and not self.removed


class Peers:
    """The other routers. Alone (no peer alive) every conversation is this router's own."""

    def __init__(self, self_id: str = "", processes: int = 1) -> None:
        self.self_id = self_id
        self.processes = processes
        self.live: tuple[Peer, ...] = ()
        self.known: dict[str, Peer] = {}
        self.serving = True
        self._ids: Sequence[str] = (self_id,)

    @property
    def share(self) -> float:
        """This process's part of the environment's traffic: one of (live routers · processes)."""
        return 1 / ((1 + len(self.live)) * self.processes)

    def owner_of(self, conversation: int) -> Peer | None:
        """The peer that owns the conversation; None: this router does, or is alone."""
        if not self.live:
            return None
        return self.known.get(owner(conversation, self._ids))

    def report_failure(self, peer: Peer) -> None:
        """A request could not be handed to it: skip it until the next good probe."""
        peer.skipped = peer.probes
        self._recount()

    def set_serving(self, serving: bool) -> None:
        """Whether this router would answer its own /health with 200: others ask it for that.

        A router that drains or has no worker owns nothing, in its own eyes too.
        """
        if serving != self.serving:
            self.serving = serving
            self._recount()

    def apply(self, seen: Iterable[SeenPeer]) -> tuple[list[Peer], list[Peer]]:
        """Make the set what was found, without this router; returns (added, removed).

        A peer that stays keeps its state; one whose address changed is a new one.
        """
        wanted = {item.id: item for item in seen if item.id != self.self_id}
        removed = [
            peer
            for peer in self.known.values()
            if peer.id not in wanted or wanted[peer.id].address != peer.address
        ]
        for peer in removed:
            peer.removed = peer.dead = True
            del self.known[peer.id]
        added = [Peer(item) for item in wanted.values() if item.id not in self.known]
        self.known.update((peer.id, peer) for peer in added)
        self._recount()
        return added, removed

    def answered(self, peer: Peer, now: float) -> None:
        """A probe was good."""
        peer.probes += 1
        peer.failures = 0
        peer.probed_at = now
        peer.alive, peer.dead = True, False
        self._recount()

    def failed(self, peer: Peer, now: float, *, refused: bool = False) -> None:
        """A probe was not; `refused`: the peer itself said that it takes nothing."""
        peer.failures = 0 if refused else peer.failures + 1
        late = now - peer.probed_at >= DEAD_S
        if refused:
            peer.alive = peer.dead = False
        elif late or peer.failures >= MAX_FAILED_PROBES:
            peer.alive, peer.dead = False, True
        self._recount()

    def states(self) -> list[PeerState]:
        return [
            PeerState(p.id, p.address.host, p.address.port, p.alive, p.dead, p.probes)
            for p in self.known.values()
        ]

    def mirror(self, states: Sequence[PeerState]) -> list[Peer]:
        """Take over what the process that probes knows; returns the peers that are gone.

        A peer skipped here stays so until that process had another good probe.
        """
        seen = [SeenPeer(state.id, Address(state.host, state.port)) for state in states]
        _, removed = self.apply(seen)
        for state in states:
            if (peer := self.known.get(state.id)) is not None:
                peer.alive, peer.dead, peer.probes = state.alive, state.dead, state.probes
        self._recount()
        return removed

    def _recount(self) -> None:
        self.live = tuple(peer for peer in self.known.values() if peer.usable)
        own = [self.self_id] if self.serving else []
        self._ids = [*own, *(peer.id for peer in self.live)]
