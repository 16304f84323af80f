"""What parent and data processes decide, tell each other and add up."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.errors import StartError
from sglrouter.fleet.workers import Address, Report, Seen
from sglrouter.listener import make_listener, make_listeners
from sglrouter.log import Log
from sglrouter.models import RouterDocument
from sglrouter.processes import Supervisor, assign
from sglrouter.processes_sums import Sums, mirror_workers, others_of, share_of, view_of
from sglrouter.serving.core import Router
from sglrouter.shared import (
    ChannelError,
    Counts,
    Listen,
    Others,
    Secrets,
    Stop,
    View,
    WorkerRow,
    decode,
    encode,
    make_memory,
    map_memory,
)
from sglrouter.telemetry.exposition import process_dump, workers_document


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_every_listener_has_one_process_while_one_is_left(case):
    """A process that is ready always has its own."""
    count, ready = case
    assigned = assign(sorted(ready), count)
    assert set(assigned) == ready
    assert all(number in listeners for number, listeners in assigned.items())
    owned = sorted(n for listeners in assigned.values() for n in listeners)
    assert owned == (list(range(count)) if ready else [])


def document(**fleet) -> RouterDocument:
    return RouterDocument.model_validate(
        {
            "environment": "local",
            "listen": {"processes": 3},
            "fleets": {"chat": {"models": ["tiny"], **fleet}},
            "discovery": {"kind": "static", "workers": []},
        }
    )


SHARES = [
    ({}, (None, 86, 171)),
    ({"max_in_flight": 9, "max_in_flight_per_worker": 1, "queue": {"size": 0}}, (3, 1, 0)),
    ({"max_in_flight": 10, "max_in_flight_per_worker": 6, "queue": {"size": 1}}, (4, 2, 1)),
]


@pytest.mark.parametrize(("fleet", "expected"), SHARES)
def test_bounds_on_requests_are_divided_among_processes_and_rounded_up(fleet, expected):
    """What is 0 or unbounded stays so."""
    route = share_of(document(**fleet), 3).fleets["chat"]
    assert (route.max_in_flight, route.max_in_flight_per_worker, route.queue.size) == expected


def row(name: str, slot: int, state: str = "ready", in_flight: int = 0) -> WorkerRow:
    seen = Seen(name, "chat", Address("127.0.0.1", slot), None)
    return WorkerRow(seen, slot, Report(state, 0, None, {"in_flight": in_flight}), 0, 1e9)


MESSAGES = [
    Listen([0, 2]),
    Stop(hurry=True),
    Secrets({"keys": '{"a": "ä"}'}),
    Others({"w": 3}),
    View([row("w", 1)], "a", False, []),
    Counts({"x": [[["a", 200], 1.5]]}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_a_message_arrives_as_it_was_sent(message):
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


def test_what_is_no_message_is_an_error():
    with pytest.raises(ChannelError, match="not a message"):
        decode(b'{"kind": "nothing"}\n')


def test_memory_is_one_for_every_process_that_maps_it():
    descriptor = make_memory(4096)
    first, second = map_memory(descriptor), map_memory(descriptor)
    first[7] = 42
    assert (second[7], len(second)) == (42, 4096)
    os.close(descriptor)


def test_log_lines_of_processes_that_share_a_pipe_are_not_torn():
    """Each write is whole lines, small enough for a pipe to take at once (pipe(7): in packet mode
    one read is one write)."""
    reading, writing = os.pipe2(os.O_DIRECT)
    log = Log(writing, shared=True)
    for n in range(100):
        log.write("x", {"n": n, "text": "." * 300})
    log.close()
    os.close(writing)
    packets = []
    while packet := os.read(reading, 65536):
        packets.append(packet)
    os.close(reading)
    assert all(packet.endswith(b"\n") for packet in packets)
    assert [json.loads(x)["n"] for x in b"".join(packets).splitlines()] == list(range(100))
    assert 9 <= len(packets) < 40


def test_a_name_that_is_no_utf8_does_not_lose_its_line():
    """Clients name models: a line that cannot be written would leave its request half counted."""
    reading, writing = os.pipe()
    log = Log(writing, shared=True)
    log.write("request", {"model": "\ud800", "status": 404})
    log.close()
    os.close(writing)
    with os.fdopen(reading) as lines:
        (line,) = lines
    told = json.loads(line)
    assert (told["event"], told["model"], told["status"]) == ("request", "\ud800", 404)


def test_a_taken_port_is_not_shared_by_accident():
    """Although several processes of one router share theirs."""
    ours = make_listeners("127.0.0.1", 0, 3)
    port = ours[0].getsockname()[1]
    assert {sock.getsockname()[1] for sock in ours} == {port}
    for count in (1, 2):
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}"):
            make_listeners("127.0.0.1", port, count)
    for sock in ours:
        sock.close()
    make_listener("127.0.0.1", port).close()


def routers(lab, scenario):
    """Run `scenario(parent, data)` with two routers that do not listen."""

    async def run():
        log = Log(os.open(os.devnull, os.O_WRONLY))
        await scenario(Router(document(), log), Router(document(), log))
        log.close()

    lab.run(run())


def test_a_data_process_has_the_parents_workers_and_keeps_its_own_counts(lab):
    """A worker in another slot is another worker: the shared index goes by slots."""

    async def scenario(parent, data):
        mirror_workers(data, {"a": row("a", 1), "b": row("b", 2, "draining", in_flight=9)})
        a = data.workers.workers["a"]
        assert [w.id for w in data.workers.fleets["chat"].ready] == ["a"]
        a.in_flight, a.others = 2, 5
        mirror_workers(data, {"a": row("a", 1, in_flight=40), "b": row("b", 3)})
        assert data.workers.workers["a"] is a
        assert (a.in_flight, a.others) == (2, 5)
        assert (data.workers.workers["b"].slot, data.workers.workers["b"].state) == (3, "ready")
        drained = dataclasses.replace(row("a", 1), drained_here=True)
        mirror_workers(data, {"a": drained})
        assert data.workers.fleets["chat"].ready == ()
        mirror_workers(data, {"a": row("a", 1)})
        assert [w.id for w in data.workers.fleets["chat"].ready] == ["a"]
        mirror_workers(data, {})
        assert a.removed
        assert data.workers.fleets["chat"].ready == ()

    routers(lab, scenario)


def test_the_parent_shows_sums_and_tells_each_process_what_the_others_have(lab):
    """Process 0 has two requests on the worker, process 1 has one, another router has three.
    A process that ends takes its requests along and leaves its counters."""

    async def scenario(parent, data):
        for router in (parent, data):
            mirror_workers(router, {"a": row("a", 1)})
        parent.workers.workers["a"].others = 3
        sums = Sums(parent)

        def report(process, in_flight):
            data.workers.workers["a"].in_flight = in_flight
            data.workers.fleets["chat"].in_flight = in_flight
            data.metrics.answered("/v1/completions", "chat", "chat", 200)
            sums.take(process, process_dump(data))

        def shown():
            (worker,) = workers_document(parent)["workers"]
            return worker["in_flight"], parent.workers.fleets["chat"].in_flight

        report(0, 2)
        report(1, 1)
        assert shown() == (3, 3)
        assert [others_of(parent, sums, n).workers["a"] for n in (0, 1)] == [4, 5]
        sums.ended(0)
        assert shown() == (1, 1)
        assert others_of(parent, sums, 1).workers["a"] == 3
        assert [r.seen.id for r in view_of(parent).workers] == ["a"]
        total = parent.metrics.load_sum([parent.metrics.past, *parent.metrics.others.values()])
        assert sum(total.requests.values()) == 3

    routers(lab, scenario)


class Told:
    """A data process that only listens: how many lines came since it was last asked."""

    def __init__(self) -> None:
        self.told: View | None = None
        self.channel = self
        self._lines = 0

    def send(self, *lines: bytes) -> None:
        self._lines += sum(b'"view"' in line for line in lines)

    def news(self) -> int:
        self._lines, count = 0, self._lines
        return count


def test_a_view_is_told_to_who_has_another_and_after_a_reload():
    """A process leaves out workers of a fleet that it hears of only with the next document."""

    async def scenario():
        nowhere = os.open(os.devnull, os.O_WRONLY)
        supervisor = Supervisor(document(), Log(nowhere))
        workers, child = supervisor.router.workers, Told()
        supervisor._children[0] = child

        def twice() -> list[int]:
            found = []
            for _ in range(2):
                supervisor._tell_view()
                found.append(child.news())
            return found

        assert twice() == [1, 0]
        workers.apply([row("a", 1).seen])
        assert twice() == [1, 0]
        workers.reported(workers.workers["a"], Report("ready", 0, None, {}), 5.0)
        assert twice() == [1, 0]
        await supervisor.reload(document(models=["tiny", "new"]))
        child.news()
        assert twice() == [1, 0]
        late = supervisor._children[1] = Told()
        supervisor._tell_view()
        assert (child.news(), late.news()) == (0, 1)
        supervisor._children.clear()
        await supervisor.stop()
        supervisor.log.close()
        os.close(nowhere)

    asyncio.run(scenario())
