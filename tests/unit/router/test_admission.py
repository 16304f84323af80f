"""Queues: who waits, in which order, and how waiting ends."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.models import Queue
from sglrouter.serving.admission import CLASSES, Admission

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def held(go: asyncio.Event):
    """A worker's handler that answers when told."""

    async def answer(request, writer):
        await go.wait()
        writer.write(OK)

    return answer


def fleets(**route):
    return {"chat": {"models": ["tiny"], **route}}


def queue_of(world):
    return world.router.workers.fleets["chat"].queue


def at_rest(world) -> None:
    assert not world.router.exchanges
    for fleet in world.router.workers.fleets.values():
        assert (fleet.in_flight, len(fleet.queue)) == (0, 0)
    for worker in world.router.workers.workers.values():
        assert (worker.in_flight, worker.backlog) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from(CLASSES), st.booleans()), max_size=40))
def test_the_queue_is_first_come_first_served_within_a_class(entries):
    """Whoever leaves, the others keep their order; the position given is the place in line."""
    queue = Admission[int](Queue(size=100))
    staying = []
    for number, (priority, leaves) in enumerate(entries):
        position = queue.position(priority)
        assert queue.offer(number, priority, float(number))
        assert list(queue).index(number) + 1 == position
        if leaves:
            assert queue.remove(number, priority)
            assert not queue.remove(number, priority)
        else:
            staying.append((CLASSES.index(priority), number))
    assert list(queue) == [number for _, number in sorted(staying)]
    assert len(queue) == len(staying)
    assert bool(queue) == bool(staying)


def test_the_queue_is_bounded_and_tells_who_waited_too_long():
    queue = Admission[str](Queue(size=2, timeout_s=10.0))
    assert queue.offer("a", "low", 0.0)
    assert queue.offer("b", "high", 5.0)
    assert not queue.offer("c", "high", 5.0)
    assert queue.expired(9.9) == []
    assert queue.expired(10.0) == ["a"]
    assert queue.expired(15.0) == ["b", "a"]


@pytest.mark.parametrize("bound", ["max_in_flight", "max_in_flight_per_worker"])
def test_a_full_fleet_queues_and_serves_in_order(lab, bound):
    """Three requests, room for one: each is served when the one before it is done."""
    go = asyncio.Event()

    async def scenario():
        worker = lab.FakeWorker(held(go))
        async with lab.world(worker, fleets=fleets(**{bound: 1})) as world:
            clients = [await world.client() for _ in range(3)]
            for waiting, client in enumerate(clients):
                client.writer.write(lab.post({"model": "tiny", "n": waiting}))
                await lab.until(lambda n=waiting: len(queue_of(world)) == n)
                await lab.until(lambda: len(worker.requests) == 1)
            go.set()
            for client in clients:
                assert (await client.answer()).status == 200
            bodies = [request.body for request in worker.requests]
            assert bodies == sorted(bodies)
            at_rest(world)

    lab.run(scenario())


def test_a_full_fleet_does_not_spill_to_its_fallback(lab):
    """The fallback is for failures; who is merely early waits."""
    go = asyncio.Event()

    async def scenario():
        own, other = lab.FakeWorker(held(go)), lab.FakeWorker(fleet="spare")
        chain = fleets(max_in_flight_per_worker=1, fallback=[{"fleet": "spare"}])
        chain["spare"] = {"models": ["other"]}
        async with lab.world(own, other, fleets=chain) as world:
            clients = [await world.client() for _ in range(2)]
            for client in clients:
                client.writer.write(lab.post())
            await lab.until(lambda: len(queue_of(world)) == 1)
            go.set()
            for client in clients:
                assert (await client.answer()).status == 200
            assert (len(own.requests), len(other.requests)) == (2, 0)

    lab.run(scenario())


def test_a_full_queue_answers_429_with_the_position(lab):
    """And when to come back."""
    go = asyncio.Event()

    async def scenario():
        rules = fleets(max_in_flight=1, queue={"size": 1})
        async with lab.world(lab.FakeWorker(held(go)), fleets=rules) as world:
            clients = [await world.client() for _ in range(2)]
            for client in clients:
                client.writer.write(lab.post())
            await lab.until(lambda: len(queue_of(world)) == 1)
            refused = await world.ask(lab.post())
            assert (refused.status, refused.error["code"]) == (429, "queue_full")
            assert refused.header("retry-after") == "1"
            assert refused.header("x-sglctl-queue-position") == "2"
            go.set()
            for client in clients:
                assert (await client.answer()).status == 200
            at_rest(world)

    lab.run(scenario())


def test_who_waits_too_long_is_answered_429(lab):
    """The request that runs is not touched."""
    go = asyncio.Event()

    async def scenario():
        rules = fleets(max_in_flight=1, queue={"timeout_s": 0.05})
        async with lab.world(lab.FakeWorker(held(go)), fleets=rules) as world:
            first = await world.client()
            first.writer.write(lab.post())
            await lab.until(lambda: world.workers[0].requests)
            refused = await world.ask(lab.post())
            assert (refused.status, refused.error["code"]) == (429, "queue_timeout")
            assert refused.header("x-sglctl-queue-position") == "1"
            assert world.router.metrics.queue_wait.sums
            go.set()
            assert (await first.answer()).status == 200
            at_rest(world)

    lab.run(scenario())


def test_a_high_priority_goes_first(lab):
    """low and normal came before it; without a key anyone may ask for any class."""
    go = asyncio.Event()

    async def scenario():
        worker = lab.FakeWorker(held(go))
        async with lab.world(worker, fleets=fleets(max_in_flight=1)) as world:
            clients = []
            for number, priority in enumerate(["normal", "low", "normal", "high"]):
                clients.append(await world.client())
                header = f"X-SGLCTL-Priority: {priority}\r\n"
                clients[-1].writer.write(lab.post({"model": "tiny", "n": number}, headers=header))
                await lab.until(lambda n=number: len(queue_of(world)) == n)
                await lab.until(lambda: worker.requests)
            go.set()
            for client in clients:
                assert (await client.answer()).status == 200
            assert [r.body[-2:-1] for r in worker.requests] == [b"0", b"3", b"2", b"1"]

    lab.run(scenario())


def test_a_client_that_leaves_the_queue_costs_nothing(lab):
    """No worker ever hears of it, and the next one moves up."""
    go = asyncio.Event()

    async def scenario():
        worker = lab.FakeWorker(held(go))
        async with lab.world(worker, fleets=fleets(max_in_flight=1)) as world:
            clients = [await world.client() for _ in range(3)]
            for number, client in enumerate(clients):
                client.writer.write(lab.post({"model": "tiny", "n": number}))
                await lab.until(lambda n=number: len(queue_of(world)) == n)
                await lab.until(lambda: worker.requests)
            clients[1].writer.transport.abort()
            await lab.until(lambda: len(queue_of(world)) == 1)
            go.set()
            assert (await clients[2].answer()).status == 200
            assert [r.body[-2:-1] for r in worker.requests] == [b"0", b"2"]
            assert world.router.metrics.disconnects == {("chat", "queued"): 1}
            await lab.until(lambda: not world.router.exchanges)
            at_rest(world)

    lab.run(scenario())


def test_a_worker_that_becomes_ready_takes_who_waits(lab):
    """Not only a request that ends makes room."""
    go = asyncio.Event()

    async def scenario():
        full, late = lab.FakeWorker(held(go)), lab.FakeWorker(state={"state": "warming_up"})
        rules = fleets(max_in_flight_per_worker=1)
        async with lab.world(full, late, fleets=rules, ready=False) as world:
            await lab.until(lambda: world.router.workers.ready_count() == 1)
            first, second = await world.client(), await world.client()
            first.writer.write(lab.post())
            await lab.until(lambda: full.requests)
            second.writer.write(lab.post())
            await lab.until(lambda: len(queue_of(world)) == 1)
            late.state = {}
            assert (await second.answer()).header("x-sglctl-worker") == late.id
            go.set()
            assert (await first.answer()).status == 200
            at_rest(world)

    lab.run(scenario())


def test_when_all_workers_are_lost_who_waits_is_told_so(lab):
    """503 after the queue's time, not 429: coming back sooner would not help."""
    go = asyncio.Event()

    async def scenario():
        worker = lab.FakeWorker(held(go))
        rules = fleets(max_in_flight=1, queue={"timeout_s": 0.6})
        async with lab.world(worker, fleets=rules) as world:
            first, second = await world.client(), await world.client()
            first.writer.write(lab.post())
            await lab.until(lambda: worker.requests)
            second.writer.write(lab.post())
            await lab.until(lambda: len(queue_of(world)) == 1)
            worker.state = {"state": "draining"}
            answer = await second.answer()
            assert (answer.status, answer.error["code"]) == (503, "no_ready_worker")
            go.set()
            assert (await first.answer()).status == 200
            at_rest(world)

    lab.run(scenario())
