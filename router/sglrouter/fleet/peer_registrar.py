"""Finds the other routers and probes them: one loop for the set, one small loop per peer.

A peer is dead within 1 s: a connection refused counts at the second probe (0.5 s), a probe
without an answer at once, after PROBE_TIMEOUT_S.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from sglrouter import instance
from sglrouter.aws import AwsError
from sglrouter.errors import DiscoveryError, StartError
from sglrouter.fleet.agent_client import AgentClient, ReadError
from sglrouter.fleet.discovery import address_of, reachable_address, running_instances
from sglrouter.fleet.peers import Peer, Peers, SeenPeer
from sglrouter.fleet.workers import Address
from sglrouter.log import Log
from sglrouter.models import AwsPeers, StaticPeers

# With the interval before it under DEAD_S.
PROBE_TIMEOUT_S = 0.7


class PeerSource(Protocol):
    interval_s: float
    probe_interval_s: float

    async def self_id(self) -> str:
        """This router's own id. Raises DiscoveryError."""

    async def read(self) -> list[SeenPeer]:
        """The routers there are now, this one among them. Raises DiscoveryError."""


class StaticPeerSource:
    interval_s = 3600.0

    def __init__(self, document: StaticPeers) -> None:
        self.probe_interval_s = document.probe_interval_s
        self._self_id = document.self_id
        self._seen = [SeenPeer(item.id, address_of(item.url)) for item in document.routers]

    async def self_id(self) -> str:
        return self._self_id

    async def read(self) -> list[SeenPeer]:
        return self._seen


def seen_routers(
    reservations: Iterable[Mapping[str, Any]], port: int, own_address: str | None
) -> list[SeenPeer]:
    """The routers of DescribeInstances' answer; all listen on `port`, as this one does."""
    return [
        SeenPeer(item["InstanceId"], Address(reachable_address(address, own_address), port))
        for reservation in reservations
        for item in reservation.get("Instances", ())
        if (address := item.get("PrivateIpAddress"))
    ]


class AwsPeerSource:
    """Running instances tagged with the environment and role `router`."""

    def __init__(
        self, document: AwsPeers, environment: str, port: int, own_address: str | None
    ) -> None:
        self.interval_s = document.interval_s
        self.probe_interval_s = document.probe_interval_s
        self._environment = environment
        self._port = port
        self._own_address = own_address

    async def self_id(self) -> str:
        try:
            return await asyncio.to_thread(instance.own_instance_id)
        except (OSError, StartError) as error:
            raise DiscoveryError(f"own instance id: {error}") from error

    async def read(self) -> list[SeenPeer]:
        try:
            found = await asyncio.to_thread(running_instances, self._environment, "router")
        except AwsError as error:
            raise DiscoveryError(str(error)) from error
        return seen_routers(found, self._port, self._own_address)


def make_peer_source(
    document: AwsPeers | StaticPeers, environment: str, port: int, own_address: str | None
) -> PeerSource:
    if isinstance(document, StaticPeers):
        return StaticPeerSource(document)
    return AwsPeerSource(document, environment, port, own_address)


class PeerRegistrar:
    """`run` until cancelled; then no peer is left. `healthy`: whether /health here says 200."""

    def __init__(
        self,
        peers: Peers,
        source: PeerSource,
        log: Log,
        healthy: Callable[[], bool],
        clock: Callable[[], float],
        gone: Callable[[Peer], None],
    ) -> None:
        self.peers = peers
        self.source = source
        self._log = log
        self._healthy = healthy
        self._clock = clock
        self._gone = gone
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._logged = ""

    async def run(self) -> None:
        try:
            while True:
                await self._discover()
                await asyncio.sleep(self.source.interval_s)
        finally:
            tasks = list(self._probes.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._apply([])

    async def _discover(self) -> None:
        try:
            if not self.peers.self_id:
                self.peers.self_id = await self.source.self_id()
            seen = await self.source.read()
        except DiscoveryError as error:  # the last known set stays
            reason = str(error)
        except Exception:  # a defect here must not stop the loop that finds peers
            reason = traceback.format_exc()
        else:
            self._logged = ""
            self._apply(seen)
            return
        if reason != self._logged:
            self._logged = reason
            self._log.write("peer_discovery_failed", {"reason": reason})

    def _apply(self, seen: list[SeenPeer]) -> None:
        added, removed = self.peers.apply(seen)
        for peer in removed:
            task = self._probes.pop(peer.id, None)
            if task is not None:
                task.cancel()
            self._gone(peer)
            self._log.write("peer_gone", {"peer": peer.id})
        for peer in added:
            self._probes[peer.id] = asyncio.create_task(self._watch(peer))

    async def _watch(self, peer: Peer) -> None:
        """Probe one peer again and again."""
        client = AgentClient(peer.address)
        try:
            while True:
                started = self._clock()
                self.peers.set_serving(self._healthy())
                await self._probe(peer, client)
                spent = self._clock() - started
                await asyncio.sleep(max(0.01, self.source.probe_interval_s - spent))
        finally:
            client.close()

    async def _probe(self, peer: Peer, client: AgentClient) -> None:
        was, reason = peer.alive, ""
        try:
            status, _ = await client.get("/health", PROBE_TIMEOUT_S)
        except ReadError as error:
            reason = str(error)
            self.peers.failed(peer, self._clock())
        except Exception:  # as in _discover: the watch goes on
            reason = traceback.format_exc()
            self.peers.failed(peer, self._clock())
        else:
            if status == 200:
                self.peers.answered(peer, self._clock())
            else:
                reason = f"/health answered {status}"
                self.peers.failed(peer, self._clock(), refused=True)
        if peer.alive != was:
            event = "peer_alive" if peer.alive else "peer_dead"
            self._log.write(
                event,
                {"peer": peer.id, "address": str(peer.address)}
                | ({"reason": reason} if reason else {}),
            )
