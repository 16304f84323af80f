"""Workers that fail: before the first byte another one answers, after it the client is told."""

from __future__ import annotations

import asyncio
import json

import pytest

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def at_rest(world) -> None:
    """Every counter is exactly zero."""
    assert not world.router.exchanges
    assert [f.in_flight for f in world.router.workers.fleets.values()] == [0]
    assert {w.in_flight for w in world.router.workers.workers.values()} <= {0}


def failing(lab, name):
    return {
        "reset": lab.reset(),
        "end of stream": lab.cut(),
        "half a head": lab.cut(b"HTTP/1.1 200 OK\r\ncontent-"),
        "502": lab.plain(b"x", "502 Bad Gateway"),
        "503": lab.plain(b"x", "503 Service Unavailable"),
        "no HTTP": lab.plain(b"x", "abc"),
        "garbage": lab.cut(b"\x00\x01\x02\r\n\r\n"),
        "an endless head": lab.cut(b"HTTP/1.1 200 OK\r\na: " + b"x" * 100_000),
    }[name]


CAUSES = ["reset", "end of stream", "half a head", "502", "503", "garbage", "an endless head"]


@pytest.mark.parametrize("cause", CAUSES)
def test_another_worker_answers_when_one_fails_before_its_first_byte(lab, cause):
    """The client sees a plain success, whichever worker was chosen first."""

    async def scenario():
        bad, good = lab.FakeWorker(failing(lab, cause)), lab.FakeWorker()
        async with lab.world(bad, good) as world:
            for _ in range(4):
                answer = await world.ask(lab.post())
                assert answer.status == 200
                assert answer.header("x-sglctl-worker") == good.id
            assert len(bad.requests) >= 1
            at_rest(world)
            assert sum(world.router.metrics.retries.values()) >= 1

    lab.run(scenario())


@pytest.mark.parametrize("cause", CAUSES)
def test_when_every_worker_fails_the_client_gets_503_with_retry_after(lab, cause):
    """Each worker is tried once."""

    async def scenario():
        workers = [lab.FakeWorker(failing(lab, cause)) for _ in range(2)]
        async with lab.world(*workers) as world:
            answer = await world.ask(lab.post())
            assert answer.status == 503
            assert answer.header("retry-after") == "1"
            assert answer.error["code"] == "no_worker_answered"
            assert [len(w.requests) for w in workers] == [1, 1]
            at_rest(world)

    lab.run(scenario())


def test_a_worker_that_cannot_be_reached_is_replaced(lab):
    """Its agent still says ready, but nobody listens at the engine's port."""

    async def scenario():
        gone = lab.FakeWorker(state={"engine_url": "http://127.0.0.1:9"})
        async with lab.world(gone, lab.FakeWorker()) as world:
            for _ in range(3):
                assert (await world.ask(lab.post())).status == 200
            assert world.router.metrics.failures[("chat", "connect")] >= 1
            at_rest(world)

    lab.run(scenario())


def test_retries_are_bounded(lab):
    """max_retries 1: of three failing workers two are tried."""

    async def scenario():
        workers = [lab.FakeWorker(lab.reset()) for _ in range(3)]
        async with lab.world(*workers, limits={"max_retries": 1}) as world:
            assert (await world.ask(lab.post())).status == 503
            assert sum(len(w.requests) for w in workers) == 2

    lab.run(scenario())


def test_a_worker_too_slow_with_its_first_byte_is_replaced(lab):
    """The first one never answers; its connection is closed."""

    async def never(request, writer):
        await asyncio.sleep(3600)

    async def scenario():
        slow, good = lab.FakeWorker(never), lab.FakeWorker()
        fleets = {"chat": {"models": ["tiny"], "first_byte_timeout_s": 0.1}}
        async with lab.world(slow, good, fleets=fleets) as world:
            assert (await world.ask(lab.post())).status == 200
            await asyncio.wait_for(slow.closed.wait(), 5)
            good.handler = never
            answer = await world.ask(lab.post())
            assert (answer.status, answer.error["code"]) == (504, "first_byte_timeout")
            at_rest(world)

    lab.run(scenario())


def test_a_stale_connection_costs_nobody_an_error(lab):
    """A kept-alive connection that the worker closes under our request is opened anew."""
    first = True

    async def once_then_reset(request, writer):
        nonlocal first
        if first or writer.get_extra_info("peername") not in used:
            first = False
            used.add(writer.get_extra_info("peername"))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        else:
            writer.transport.abort()

    used: set = set()

    async def scenario():
        async with lab.world(lab.FakeWorker(once_then_reset)) as world:
            for _ in range(3):
                assert (await world.ask(lab.post())).status == 200
            assert world.router.metrics.failures[("chat", "stale_connection")] == 2
            assert not world.router.metrics.retries
            at_rest(world)

    lab.run(scenario())


def test_a_broken_stream_ends_with_an_error_event_and_no_done(lab):
    """In OpenAI's shape, in a properly ended body; counted."""

    async def scenario():
        worker = lab.FakeWorker(lab.cut(SSE_HEAD + chunk(EVENT) + chunk(EVENT)))
        async with lab.world(worker) as world:
            answer = await world.ask(lab.post())
            assert answer.status == 200
            assert answer.complete
            assert answer.body.startswith(EVENT * 2)
            last = answer.body.removeprefix(EVENT * 2)
            error = json.loads(last.removeprefix(b"data: "))["error"]
            assert error["code"] == "upstream_failed"
            assert b"[DONE]" not in answer.body
            assert world.router.metrics.truncations == {("chat", "event"): 1}
            at_rest(world)

    lab.run(scenario())


@pytest.mark.parametrize(
    "last",
    [b"data: [DONE]\n\n", b'event: message_stop\ndata: {"type":"message_stop"}\n\n'],
)
def test_a_stream_that_has_its_last_event_is_whole(lab, last):
    """The worker dies before the body's end: an error behind [DONE] would be a lie."""

    async def scenario():
        worker = lab.FakeWorker(lab.cut(SSE_HEAD + chunk(EVENT) + chunk(last)))
        async with lab.world(worker) as world:
            answer = await world.ask(lab.post())
            assert (answer.status, answer.complete, answer.body) == (200, True, EVENT + last)
            assert not world.router.metrics.truncations
            at_rest(world)

    lab.run(scenario())


def test_a_connection_outlives_a_stream_that_ended_with_an_error_event(lab):
    """Its body was whole by its framing, so a client has sent the next request already."""

    async def scenario():
        broken = lab.cut(SSE_HEAD + chunk(EVENT))
        worker = lab.FakeWorker()

        async def first_breaks(request, writer):
            await (broken if len(worker.requests) == 1 else lab.plain())(request, writer)

        worker.handler = first_breaks
        async with lab.world(worker) as world:
            client = await world.client()
            client.writer.write(lab.post() * 2)
            first, second = await client.answer(), await client.answer()
            assert b"upstream_failed" in first.body
            assert (second.status, second.complete) == (200, True)
            at_rest(world)

    lab.run(scenario())


TRUNCATED = {
    "inside a chunk": SSE_HEAD + chunk(EVENT) + chunk(EVENT)[:-9],
    "inside a chunk's end": SSE_HEAD + chunk(EVENT)[:-1],
    "inside a chunk's size": SSE_HEAD + chunk(EVENT) + b"1",
    "after a chunk's size": SSE_HEAD + chunk(EVENT) + b"1f\r\n",
    "inside an event": SSE_HEAD + chunk(EVENT) + chunk(EVENT[:10]),
    "plain with a length": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
    "plain in chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"{"),
}


@pytest.mark.parametrize("where", TRUNCATED)
def test_what_cannot_be_told_is_cut(lab, where):
    """The client's parser sees that the body is not whole."""

    async def scenario():
        async with lab.world(lab.FakeWorker(lab.cut(TRUNCATED[where]))) as world:
            answer = await world.ask(lab.post())
            assert answer.status == 200
            assert not answer.complete
            assert b"error" not in answer.body
            assert world.router.metrics.truncations == {("chat", "connection"): 1}
            at_rest(world)

    lab.run(scenario())


def test_bytes_after_an_answer_reach_no_client(lab):
    """A worker that says more than it announced cannot forge the next client's answer."""
    surplus = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL"

    async def answer(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + surplus)

    async def scenario():
        async with lab.world(lab.FakeWorker(answer)) as world:
            raw = await world.raw(lab.post() + lab.post())
            assert b"EVIL" not in raw
            at_rest(world)

    lab.run(scenario())


def test_without_a_ready_worker_the_answer_is_503_with_retry_after(lab):
    """And /health says so."""

    async def scenario():
        worker = lab.FakeWorker(state={"state": "warming_up"})
        async with lab.world(worker, ready=False) as world:
            answer = await world.ask(lab.post())
            assert (answer.status, answer.error["code"]) == (503, "no_ready_worker")
            assert answer.header("retry-after") == "2"
            health = await world.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert health.status == 503
            assert json.loads(health.body) == {
                "status": "no_ready_worker",
                "ready_workers": 0,
                "keys_loaded": True,
            }
            at_rest(world)

    lab.run(scenario())


def test_until_its_keys_are_read_a_router_is_unhealthy_though_workers_are_ready(lab, tmp_path):
    """A load balancer would send it what the other routers can serve."""

    async def scenario():
        async with lab.world(lab.FakeWorker(), keys={"file": str(file)}) as world:
            for loaded, status in ((False, 503), (True, 200)):
                world.router.keys.loaded = loaded
                health = await world.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
                assert (health.status, json.loads(health.body)["keys_loaded"]) == (status, loaded)

    file = tmp_path / "keys.json"
    file.write_text('{"a": "sk-12345678"}')
    lab.run(scenario())


async def _never(request, writer):
    await asyncio.sleep(3600)


async def _stream(request, writer):
    writer.write(SSE_HEAD)
    for _ in range(1000):
        writer.write(chunk(EVENT))
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(("handler", "phase"), [(_never, "waiting"), (_stream, "streaming")])
def test_a_client_that_leaves_frees_the_worker_at_once(lab, handler, phase):
    """Also before the first token: the worker sees its connection closed, counters are zero."""

    async def scenario():
        async with lab.world(lab.FakeWorker(handler)) as world:
            client = await world.client()
            client.writer.write(lab.post())
            await lab.until(lambda: [e.phase for e in world.router.exchanges] == [phase])
            assert [w.in_flight for w in world.router.workers.workers.values()] == [1]
            loop = asyncio.get_running_loop()
            left = loop.time()
            client.writer.transport.abort()
            await asyncio.wait_for(world.workers[0].closed.wait(), 5)
            assert loop.time() - left < 0.1
            at_rest(world)
            assert world.router.metrics.disconnects == {("chat", phase): 1}

    lab.run(scenario())


def test_a_client_that_leaves_while_connecting_leaves_nothing(lab):
    """The connection to the worker is given up."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            client = await world.client()
            await lab.until(lambda: world.router.clients)
            (connection,) = world.router.clients
            connection.data_received(lab.post())
            assert [e.phase for e in world.router.exchanges] == ["connecting"]
            connection.transport.abort()
            await lab.until(lambda: not world.router.exchanges)
            at_rest(world)
            assert world.workers[0].requests == []
            await client.rest()

    lab.run(scenario())


SICK = {
    "resets": lambda lab: lab.reset(),
    "says 503": lambda lab: lab.plain(b"x", "503 Service Unavailable"),
    "says 500": lambda lab: lab.plain(b"x", "500 Internal Server Error"),
}


@pytest.mark.parametrize("how", SICK)
def test_a_sick_worker_costs_no_client_an_error_and_is_soon_left_alone(lab, how):
    """Forty requests, one at a time and at once; it comes back when it is well."""

    async def scenario():
        sick, well = lab.FakeWorker(SICK[how](lab)), lab.FakeWorker()
        fleets = {"chat": {"models": ["tiny"], "breaker": {"failures": 3, "open_s": 0.5}}}
        async with lab.world(sick, well, fleets=fleets, policy="round_robin") as world:
            for _ in range(10):
                assert (await world.ask(lab.post())).status == 200
            before = len(sick.requests)
            assert world.router.metrics.breaker_opens[("chat",)] >= 1
            answers = await asyncio.gather(*(world.ask(lab.post()) for _ in range(30)))
            assert {answer.status for answer in answers} == {200}
            assert len(sick.requests) < before + 10
            sick.handler = lab.plain()
            breaker = world.router.workers.workers[sick.id].breaker
            for _ in range(500):
                assert (await world.ask(lab.post())).status == 200
                if breaker.closed:
                    break
                await asyncio.sleep(0.01)
            assert breaker.closed
            at_rest(world)

    lab.run(scenario())


def test_a_500_that_two_workers_agree_on_is_the_answer(lab):
    """The request's own fault: nobody is blamed, and the client sees what the engine said."""

    async def scenario():
        workers = [lab.FakeWorker(lab.plain(b"{}", "500 Internal Server Error")) for _ in range(3)]
        async with lab.world(*workers) as world:
            for _ in range(4):
                answer = await world.ask(lab.post())
                assert (answer.status, answer.body) == (500, b"{}")
            assert sum(len(w.requests) for w in workers) == 8
            assert not world.router.metrics.breaker_opens
            at_rest(world)

    lab.run(scenario())


def test_a_reload_takes_who_waits_for_a_removed_fleet_to_its_fallback(lab):
    """The fleet they waited for is gone; what runs in it goes on."""
    go = asyncio.Event()

    async def held(request, writer):
        await go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def scenario():
        own, other = lab.FakeWorker(held), lab.FakeWorker(fleet="spare")
        chat = {"models": ["tiny"], "max_in_flight": 1, "fallback": [{"fleet": "spare"}]}
        fleets = {"chat": chat, "spare": {"models": ["o"]}}
        async with lab.world(own, other, fleets=fleets) as world:
            clients = [await world.client() for _ in range(2)]
            for client in clients:
                client.writer.write(lab.post())
            waiting = world.router.workers.fleets["chat"].queue
            await lab.until(lambda: len(waiting) == 1)
            data = world.router.document.model_dump()
            data["fleets"] = {"spare": data["fleets"]["spare"]}
            data["discovery"]["workers"] = data["discovery"]["workers"][1:]
            world.router.configure(type(world.router.document).model_validate(data))
            assert (await clients[1].answer()).header("x-sglctl-tier") == "spare"
            go.set()
            assert (await clients[0].answer()).header("x-sglctl-worker") == own.id
            await lab.until(lambda: not world.router.exchanges)

    lab.run(scenario())
