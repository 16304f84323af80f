"""Several routers of one environment: each conversation has one owner, and owners may die."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from sglrouter.models import RouterDocument

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
EVENT = b"9\r\ndata: 1\n\n\r\n"
NAMES = "abcd"


def edited(world, **changes):
    return RouterDocument.model_validate({**world.router.document.model_dump(), **changes})


@asynccontextmanager
async def routers(lab, worker, names=NAMES, others=(), **changes):
    """name → a router; all know each other, the `others` (name, address), and one worker."""
    async with AsyncExitStack() as stack:
        await worker.start()
        stack.push_async_callback(worker.stop)
        listed = [
            {"url": f"http://{worker.id}", "fleet": "chat", "agent_url": f"http://{worker.id}"}
        ]
        kind = {"kind": "static", "workers": listed, "state_interval_s": 0.05}
        worlds = {
            name: await stack.enter_async_context(lab.world(ready=False, discovery=kind, **changes))
            for name in names
        }
        urls = [(n, f"127.0.0.1:{w.service.port}") for n, w in worlds.items()]
        table = [{"id": name, "url": f"http://{url}"} for name, url in [*urls, *others]]
        for name, world in worlds.items():
            await lab.until(lambda world=world: world.router.workers.ready_count() == 1)
            peers = {"kind": "static", "self_id": name, "routers": table, "probe_interval_s": 0.05}
            await world.service.reload(edited(world, peers=peers))
        for world in worlds.values():
            live = len(table) - 1
            await lab.until(
                lambda world=world, live=live: len(world.router.peers.live) == live, "peers alive"
            )
        yield worlds


def conversation(lab, number, **more):
    messages = [{"role": "user", "content": f"Question number {number}: why?"}]
    return lab.post({"model": "tiny", "messages": messages, **more}, path="/v1/chat/completions")


async def owned_by(lab, world, name, tries=200):
    """The number of a conversation that router `name` owns, as `world` sees it."""
    for number in range(tries):
        answer = await world.ask(conversation(lab, number))
        if answer.header("x-sglctl-router") == name:
            return number
    raise AssertionError(f"{name} owns nothing")


def kill(world) -> None:
    """As a killed process: nothing listens and every connection is reset."""
    for server in world.service.data._servers.values():
        server.close()
    for client in list(world.router.clients):
        client.transport.abort()
    world.router.stopping = True


def test_a_conversation_is_served_by_its_owner_whoever_gets_it(lab):
    """With one hop at most, and the worker sees it once; every router owns some."""

    async def scenario():
        worker = lab.FakeWorker()
        async with routers(lab, worker) as worlds:
            owners = set()
            for number in range(24):
                served = []
                for name, world in worlds.items():
                    before = len(worker.requests)
                    answer = await world.ask(conversation(lab, number))
                    assert (answer.status, len(worker.requests)) == (200, before + 1)
                    assert answer.header("x-sglctl-worker") == worker.id
                    served.append(answer.header("x-sglctl-router") or name)
                assert len(set(served)) == 1, f"conversation {number}: {served}"
                owners.add(served[0])
            assert owners == set(NAMES)
            hops = [dict(w.router.metrics.hops) for w in worlds.values()]
            assert sum(h.get(("answered",), 0) for h in hops) == 24 * 3
            assert not any(h.get(("failed",), 0) for h in hops)
            assert [len(w.router.exchanges) for w in worlds.values()] == [0, 0, 0, 0]

    lab.run(scenario())


def test_the_hop_carries_the_clients_key_and_body_and_the_worker_sees_no_trace_of_it(lab, tmp_path):
    keys = tmp_path / "keys.json"
    keys.write_text('{"a": "sk-11111111"}')

    async def scenario():
        worker = lab.FakeWorker()
        async with routers(lab, worker, names="ab", keys={"file": str(keys)}) as worlds:
            hopped = None
            for number in range(50):
                body = f'{{"model": "tiny",  "prompt": "{number}", "odd": 1}}'.encode()
                ask = lab.post(body=body, headers="x-api-key: sk-11111111\r\nx-Mine: 1\r\n")
                answer = await worlds["a"].ask(ask)
                assert answer.status == 200
                if answer.header("x-sglctl-router") == "b":
                    hopped = worker.requests[-1]
                    assert hopped.body == body
                    names = {name.lower() for name, _ in hopped.headers}
                    assert "x-mine" in names
                    assert not names & {"x-sglctl-hop", "x-api-key", "authorization"}
            assert hopped is not None

    lab.run(scenario())


@pytest.mark.parametrize("how", ["killed", "drained"])
def test_conversations_of_a_router_that_leaves_move_and_those_of_others_stay(lab, how):
    """A router that drains is left by its peers, and hands on what it still gets."""

    async def scenario():
        worker = lab.FakeWorker()
        limits = {"drain_notice_s": 30, "drain_s": 0}
        async with routers(lab, worker, limits=limits) as worlds:

            async def owners(asked):
                found = []
                for number in range(24):
                    answer = await worlds[asked].ask(conversation(lab, number))
                    assert answer.status == 200
                    found.append(answer.header("x-sglctl-router") or asked)
                return found

            before = await owners("a")
            draining = None
            if how == "killed":
                kill(worlds["d"])
            else:
                draining = asyncio.create_task(worlds["d"].service.drain())
            for name in "abc":
                peers = worlds[name].router.peers
                await lab.until(lambda peers=peers: len(peers.live) == 2, "it is left")
            after = await owners("a")
            assert "d" not in after
            kept = [(x, y) for x, y in zip(before, after, strict=True) if x != "d"]
            assert all(x == y for x, y in kept)
            if draining is not None:
                peers = worlds["d"].router.peers
                await lab.until(lambda: not peers.serving)
                assert await owners("d") == after
                worlds["d"].service.hurry.set()
                await draining

    lab.run(scenario())


def test_an_owner_killed_before_the_first_byte_costs_no_request(lab):
    """The router that took it serves it then; a stream past its first byte ends with an error."""
    go = asyncio.Event()

    async def slow(request, writer):
        if b'"held"' in request.body:
            await go.wait()
        elif b'"stream"' in request.body:
            writer.write(SSE_HEAD + EVENT)
            await asyncio.sleep(3600)
        await lab.plain()(request, writer)

    async def scenario():
        worker = lab.FakeWorker(slow)
        async with routers(lab, worker, names="ab") as worlds:
            a, b = worlds["a"], worlds["b"]
            number = await owned_by(lab, a, "b")
            waiting = [await a.client() for _ in range(5)]
            for client in waiting:
                client.writer.write(conversation(lab, number, held=1))
            stream = await a.client()
            stream.writer.write(conversation(lab, number, stream=1))
            await stream.reader.readuntil(EVENT)
            await lab.until(lambda: len(b.router.exchanges) == 6)
            kill(b)
            rest = await asyncio.wait_for(stream.reader.readuntil(b"\r\n0\r\n\r\n"), 10)
            assert b'"code":"upstream_failed"' in rest
            assert b"[DONE]" not in rest
            go.set()
            answers = [await client.answer() for client in waiting]
            assert [x.status for x in answers] == [200] * 5
            assert [x.header("x-sglctl-router") for x in answers] == [None] * 5
            assert not a.router.exchanges
            assert a.router.metrics.hops[("failed",)] == 5
            assert (await a.ask(conversation(lab, number))).status == 200

    lab.run(scenario())


def test_an_owner_that_falls_silent_is_given_up_within_a_second(lab):
    """It neither answers nor closes, like a host that lost its network: served here instead."""

    async def scenario():
        silent = asyncio.Event()

        async def mute(reader, writer):
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    if silent.is_set() or not head.startswith(b"GET /health "):
                        await asyncio.sleep(3600)
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
                pass
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        worker = lab.FakeWorker()
        others = [("z", f"127.0.0.1:{port}")]
        async with routers(lab, worker, names="a", others=others) as worlds:
            a = worlds["a"]
            clients = [await a.client() for _ in range(12)]
            for number, client in enumerate(clients):
                client.writer.write(conversation(lab, number))
            await lab.until(lambda: 0 < len(a.router.exchanges) < 12)
            silent.set()
            answers = [await client.answer() for client in clients]
            assert [x.status for x in answers] == [200] * 12
            assert a.router.peers.live == ()
        server.close()

    lab.run(scenario())


def test_a_hop_is_never_passed_on(lab):
    """A request that says it has hopped is served where it is, even if it lies: that costs its
    cached prefix and nothing else."""

    async def scenario():
        worker = lab.FakeWorker()
        async with routers(lab, worker, names="ab") as worlds:
            a = worlds["a"]
            number = await owned_by(lab, a, "b")
            head, _, body = conversation(lab, number).partition(b"\r\n\r\n")
            answer = await a.ask(head + b"\r\nX-SGLCTL-Hop: anyone\r\n\r\n" + body)
            assert (answer.status, answer.header("x-sglctl-router")) == (200, None)
            assert "x-sglctl-hop" not in {k.lower() for k, _ in worker.requests[-1].headers}

    lab.run(scenario())
