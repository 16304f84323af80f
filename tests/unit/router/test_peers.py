"""Several routers: who owns a conversation, and who is alive."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sglrouter.fleet.owner import owner
from sglrouter.fleet.peer_registrar import PeerRegistrar, make_peer_source, seen_routers
from sglrouter.fleet.peers import Peers, SeenPeer
from sglrouter.fleet.workers import Address
from sglrouter.log import Log
from sglrouter.models import StaticPeers

IDS = st.lists(st.text("abcdef0123456789-", min_size=1, max_size=20), min_size=1, unique=True)
KEYS = st.integers(0, (1 << 64) - 1)


@given(KEYS, IDS, st.randoms())
def test_the_owner_does_not_depend_on_the_order_of_the_ids(key, ids, random):
    shuffled = random.sample(ids, len(ids))
    assert owner(key, ids) == owner(key, shuffled)


@given(KEYS, IDS.filter(lambda ids: len(ids) > 1))
def test_who_leaves_gives_away_only_what_it_owned(key, ids):
    """And who joins takes only what it then owns: the same statement read backwards."""
    *stay, leaves = ids
    before = owner(key, ids)
    assert before == leaves or owner(key, stay) == before


def test_conversations_are_spread_evenly():
    """Ids that differ in one letter too: of 8,000 each of four gets 2,000 give or take 7 %."""
    ids = [f"i-0123456789abcdef{n}" for n in range(4)]
    shares = Counter(owner(key, ids) for key in range(8000))
    assert all(1860 < shares[name] < 2140 for name in ids)


def test_the_owner_is_alike_on_every_host_and_release():
    """Routers of two releases run side by side during a rollout: the hash may not change."""
    ids = ["i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb", "i-0cccccccccccccccc"]
    assert [owner(key, ids)[3] for key in (0, 1, 2, 3, 2**63, 2**64 - 1)] == list("ccbaac")


def of_three(now: float = 100.0) -> Peers:
    """Router `a`, with `b` and `c` alive."""
    peers = Peers("a")
    peers.apply([SeenPeer(name, Address("127.0.0.1", n)) for n, name in enumerate("abc")])
    for peer in peers.known.values():
        peers.answered(peer, now)
    return peers


def owners(peers: Peers) -> set[str]:
    found = {peers.owner_of(key) for key in range(200)}
    return {peer.id if peer is not None else "a" for peer in found}


def test_a_router_without_peers_owns_everything():
    assert owners(Peers("a")) == {"a"}


def test_a_peer_owns_nothing_before_its_first_good_probe():
    peers = Peers("a")
    peers.apply([SeenPeer("b", Address("127.0.0.1", 1))])
    assert owners(peers) == {"a"}
    peers.answered(peers.known["b"], 1.0)
    assert owners(peers) == {"a", "b"}


DEATHS = [
    ("refuses connections", [(0.25, False), (0.5, False)]),
    ("does not answer", [(0.95, False), (1.9, False)]),
    ("says 503", [(0.25, True)]),
]


@pytest.mark.parametrize(("why", "probes"), DEATHS, ids=[why for why, _ in DEATHS])
def test_a_dead_owner_is_skipped_and_taken_back_at_a_good_probe(why, probes):
    peers = of_three(now=100.0)
    for after, refused in probes:
        peers.failed(peers.known["b"], 100.0 + after, refused=refused)
    assert owners(peers) == {"a", "c"}
    assert peers.known["b"].dead == (why != "says 503")
    peers.answered(peers.known["b"], 103.0)
    assert not peers.known["b"].dead
    assert owners(peers) == {"a", "b", "c"}


def test_one_lost_probe_does_not_move_conversations():
    peers = of_three()
    peers.failed(peers.known["b"], 100.25)
    assert owners(peers) == {"a", "b", "c"}


def test_an_owner_that_failed_a_request_is_skipped_at_once():
    """Until the next good probe, not for ever."""
    peers = of_three()
    peers.report_failure(peers.known["b"])
    assert owners(peers) == {"a", "c"}
    peers.answered(peers.known["b"], 100.2)
    assert owners(peers) == {"a", "b", "c"}


def test_a_router_that_turns_away_owns_nothing():
    """As the others, who ask its /health, see it."""
    peers = of_three()
    peers.set_serving(False)
    assert owners(peers) == {"b", "c"}


def test_a_data_process_sees_what_the_probing_process_saw():
    """And its own bad experience holds until that process has had a good probe since."""
    probing, mirrored = of_three(), Peers("a")
    mirrored.mirror(probing.states())
    kept = mirrored.known["b"]
    assert owners(mirrored) == {"a", "b", "c"}
    mirrored.report_failure(kept)
    mirrored.mirror(probing.states())
    assert owners(mirrored) == {"a", "c"}
    probing.answered(probing.known["b"], 101.0)
    assert mirrored.mirror(probing.states()) == []
    assert mirrored.known["b"] is kept
    assert owners(mirrored) == {"a", "b", "c"}
    probing.apply([SeenPeer("c", Address("127.0.0.1", 2))])
    assert mirrored.mirror(probing.states()) == [kept]
    assert kept.removed


def test_a_peer_at_a_new_address_is_a_new_peer():
    peers = of_three()
    old = peers.known["b"]
    added, removed = peers.apply(
        [SeenPeer("b", Address("127.0.0.1", 9)), SeenPeer("c", Address("127.0.0.1", 2))]
    )
    assert (removed, [peer.id for peer in added]) == ([old], ["b"])
    assert owners(peers) == {"a", "c"}


@pytest.mark.parametrize(
    ("own", "host"), [(None, "10.4.5.6"), ("10.0.0.1", "10.4.5.6"), ("127.0.0.1", "127.4.5.6")]
)
def test_routers_on_aws_are_instances_by_their_private_address(own, host):
    """Process hosts of the emulator answer at 127.b.c.d; one without an address is left out."""
    reservations = [
        {"Instances": [{"InstanceId": "i-1", "PrivateIpAddress": "10.4.5.6"}]},
        {"Instances": [{"InstanceId": "i-2"}]},
    ]
    assert seen_routers(reservations, 8000, own) == [SeenPeer("i-1", Address(host, 8000))]


@pytest.mark.parametrize(
    ("self_id", "ids", "message"),
    [("x", ["a", "b"], "`self_id` 'x' is none"), ("a", ["a", "a"], "two routers have one `id`")],
)
def test_static_peers_that_cannot_agree_are_refused(self_id, ids, message):
    routers = [{"id": name, "url": "http://127.0.0.1:1"} for name in ids]
    with pytest.raises(ValidationError, match=message):
        StaticPeers(self_id=self_id, routers=routers)


def test_peers_are_probed_and_their_death_and_return_are_told(lab):
    """A listener that goes away, refuses with 503, and comes back."""

    async def scenario():
        other, lines = lab.FakeWorker(), []
        await other.start()

        class Told(Log):
            def write(self, event, fields):
                lines.append((event, fields.get("peer")))

        urls = {"a": "http://127.0.0.1:1", "b": f"http://{other.id}"}
        document = StaticPeers(
            self_id="a",
            routers=[{"id": name, "url": url} for name, url in urls.items()],
            probe_interval_s=0.02,
        )
        peers, gone, log = Peers(), [], Told()
        loop = asyncio.get_running_loop()
        source = make_peer_source(document, "local", 8000, None)
        registrar = PeerRegistrar(peers, source, log, lambda: True, loop.time, gone.append)
        running = asyncio.create_task(registrar.run())
        await lab.until(lambda: peers.live, "alive")
        assert (peers.self_id, owners(peers)) == ("a", {"a", "b"})
        other.state_status = 503
        await lab.until(lambda: not peers.live, "turned away")
        other.state_status = 200
        await lab.until(lambda: peers.live, "back")
        port = other.port
        await other.stop()
        await lab.until(lambda: not peers.live, "gone")
        other.server = await asyncio.start_server(other._serve, "127.0.0.1", port)
        await lab.until(lambda: peers.live, "back again")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [peer.id for peer in gone] == ["b"]
        assert peers.live == ()
        told = [event for event, _ in lines]
        assert told == ["peer_alive", "peer_dead"] * 2 + ["peer_alive", "peer_gone"]
        await other.stop()
        log.close()

    lab.run(scenario())
