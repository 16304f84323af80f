"""Prefill/decode: one request on two workers."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.serving.pairs import add_bootstrap, batch_size

FIELDS = {"bootstrap_host", "bootstrap_port", "bootstrap_room"}


async def never(request, writer):
    await asyncio.sleep(3600)


def prefill(lab, handler=None, **state):
    return lab.FakeWorker(
        handler or lab.plain(b'{"prefill":true}'),
        {"role": "prefill", "bootstrap_port": 8998, **state},
    )


def decode(lab, handler=None):
    return lab.FakeWorker(handler or lab.plain(b'{"decode":true}'), {"role": "decode"})


def at_rest(world) -> None:
    assert not world.router.exchanges
    assert {f.in_flight for f in world.router.workers.fleets.values()} == {0}
    for worker in world.router.workers.workers.values():
        assert (worker.in_flight, worker.backlog) == (0, 0)


def test_both_workers_get_the_request_and_the_client_decodes_answer(lab):
    """The same room for both, the prefill worker's address, the rest of the body untouched."""

    async def scenario():
        p, d = prefill(lab), decode(lab)
        async with lab.world(p, d) as world:
            rest = b'"model":"tiny", "x": 1.50}'
            answer = await world.ask(lab.post(body=b"{" + rest))
            assert answer.body == b'{"decode":true}'
            assert answer.header("x-sglctl-worker") == d.id
            await lab.until(lambda: p.requests)
            (one,), (two,) = p.requests, d.requests
            assert one.body == two.body
            assert one.body.endswith(b"," + rest)
            added = json.loads(one.body)
            assert (added["bootstrap_host"], added["bootstrap_port"]) == ("127.0.0.1", 8998)
            assert 0 <= added["bootstrap_room"] < 2**63
            await world.ask(lab.post())
            assert json.loads(d.requests[1].body)["bootstrap_room"] != added["bootstrap_room"]
            at_rest(world)

    lab.run(scenario())


def test_what_is_not_generation_goes_to_one_worker_unchanged(lab):
    async def scenario():
        p, d = prefill(lab), decode(lab)
        async with lab.world(p, d) as world:
            assert (await world.ask(lab.post(path="/tokenize"))).status == 200
            ((request,),) = [w.requests for w in (p, d) if w.requests]
            assert request.body == b'{"model": "tiny"}'

    lab.run(scenario())


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_half_a_pair_serves_nothing(lab, role):
    async def scenario():
        async with lab.world(lab.FakeWorker(state={"role": role}), ready=False) as world:
            known = world.router.workers.workers
            await lab.until(lambda: {w.state for w in known.values()} == {"ready"})
            answer = await world.ask(lab.post())
            assert (answer.status, answer.error["code"]) == (503, "no_ready_worker")

    lab.run(scenario())


FAILING = {
    "resets": lambda lab: lab.reset(),
    "says 503": lambda lab: lab.plain(b"x", "503 Service Unavailable"),
    "ends": lambda lab: lab.cut(),
}


@pytest.mark.parametrize("how", FAILING)
@pytest.mark.parametrize("side", ["prefill", "decode"])
def test_when_either_fails_before_the_first_byte_another_pair_serves(lab, side, how):
    """The other half of the failed pair is not blamed and may serve again."""

    async def silent_decode(request, writer):
        await asyncio.sleep(0.05)
        await lab.plain(b'{"decode":true}')(request, writer)

    async def scenario():
        bad = FAILING[how](lab)
        workers = [prefill(lab), decode(lab, silent_decode)]
        workers.append(prefill(lab, bad) if side == "prefill" else decode(lab, bad))
        async with lab.world(*workers) as world:
            for _ in range(4):
                answer = await world.ask(lab.post())
                assert (answer.status, answer.body) == (200, b'{"decode":true}')
            assert len(workers[2].requests) >= 1
            breakers = [w.breaker for w in world.router.workers.workers.values()]
            assert breakers[0].closed
            assert breakers[1].closed
            await lab.until(lambda: not world.router.exchanges)
            at_rest(world)

    lab.run(scenario())


def test_what_prefill_refuses_is_the_clients_answer(lab):
    """Decode would wait for a cache that never comes; its connection is closed."""

    async def scenario():
        p = prefill(lab, lab.plain(b'{"error":"too long"}', "400 Bad Request"))
        d = decode(lab, never)
        async with lab.world(p, d) as world:
            answer = await world.ask(lab.post())
            assert (answer.status, answer.body) == (400, b'{"error":"too long"}')
            await asyncio.wait_for(d.closed.wait(), 5)
            at_rest(world)

    lab.run(scenario())


def test_a_client_that_leaves_frees_both(lab):
    """Both see their connections closed, both counters are zero."""

    async def scenario():
        p, d = prefill(lab, never), decode(lab, never)
        async with lab.world(p, d) as world:
            client = await world.client()
            client.writer.write(lab.post())
            await lab.until(lambda: p.requests and d.requests)
            assert [w.in_flight for w in world.router.workers.workers.values()] == [1, 1]
            client.writer.transport.abort()
            await asyncio.wait_for(asyncio.gather(p.closed.wait(), d.closed.wait()), 5)
            await lab.until(lambda: not world.router.exchanges)
            at_rest(world)

    lab.run(scenario())


def test_a_prefill_worker_that_is_silent_is_the_one_to_blame(lab):
    """Decode is silent too then, but only for want of the cache."""

    async def scenario():
        workers = [prefill(lab, never), prefill(lab), decode(lab)]

        async def after_prefill(request, writer):
            room = json.loads(request.body)["bootstrap_room"]
            rooms = [json.loads(r.body)["bootstrap_room"] for r in workers[1].requests]
            if room not in rooms:
                await asyncio.sleep(3600)
            await lab.plain(b'{"decode":true}')(request, writer)

        workers[2].handler = after_prefill
        fleets = {"chat": {"models": ["tiny"], "first_byte_timeout_s": 0.2}}
        async with lab.world(*workers, fleets=fleets) as world:
            for _ in range(2):
                assert (await world.ask(lab.post())).status in (200, 504)
            chosen = world.router.workers.workers
            assert len(workers[0].requests) <= 2
            assert chosen[workers[2].id].breaker._streak == 0
            at_rest(world)

    lab.run(scenario())


SIZES = [
    ({"text": "a"}, None),
    ({"text": ["a", "b"]}, 2),
    ({"prompt": ["a"]}, 1),
    ({"prompt": [1, 2, 3]}, None),
    ({"input_ids": [[1], [2], [3]]}, 3),
    ({"messages": [{"role": "user"}]}, None),
    ({"prompt": []}, None),
]


@pytest.mark.parametrize(("document", "size"), SIZES)
def test_a_batch_has_a_room_for_each_prompt(document, size):
    assert batch_size(document) == size
    added = json.loads(add_bootstrap(json.dumps(document).encode(), document, "h", 1))
    if size is None:
        assert (added["bootstrap_host"], added["bootstrap_port"]) == ("h", 1)
        assert isinstance(added["bootstrap_room"], int)
    else:
        assert (added["bootstrap_host"], added["bootstrap_port"]) == (["h"] * size, [1] * size)
        assert len(set(added["bootstrap_room"])) == size


@pytest.mark.parametrize(
    "document",
    [
        {"model": "tiny", "n": 2},
        {"model": "tiny", "sampling_params": {"n": 4}},
        {"model": "tiny", "bootstrap_host": "10.9.9.9"},
    ],
)
def test_what_a_pair_cannot_serve_is_refused(lab, document):
    """Neither worker hears of it."""

    async def scenario():
        p, d = prefill(lab), decode(lab)
        async with lab.world(p, d) as world:
            answer = await world.ask(lab.post(document))
            assert (answer.status, answer.error["code"]) == (400, "not_with_prefill_decode")
            assert p.requests == d.requests == []
            at_rest(world)

    lab.run(scenario())


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/vertex_generate", ""),
        ("/v1/something/new", ""),
        ("/api/chat", ""),
        ("/v1/completions", "Content-Type: multipart/form-data; boundary=x\r\n"),
    ],
)
def test_a_pair_takes_no_route_on_which_one_half_would_generate_alone(lab, path, headers):
    async def scenario():
        p, d = prefill(lab), decode(lab)
        async with lab.world(p, d) as world:
            request = lab.post({"bootstrap_host": "10.9.9.9"}, path=path)
            if headers:
                request = request.replace(b"Content-Type: application/json\r\n", headers.encode())
            answer = await world.ask(request)
            assert (answer.status, answer.error["code"]) == (400, "not_with_prefill_decode")
            assert p.requests == d.requests == []

    lab.run(scenario())


def test_either_half_of_a_pair_tokenizes(lab):
    async def scenario():
        p, d = prefill(lab), decode(lab)
        async with lab.world(p, d) as world:
            answer = await world.ask(lab.post(path="/tokenize"))
            assert answer.status == 200
            assert len(p.requests) + len(d.requests) == 1

    lab.run(scenario())


# A request that brings these fields is refused before.
names = st.text().filter(lambda name: name not in FIELDS)
documents = st.dictionaries(names, st.none() | st.integers(0, 9) | st.text(), max_size=5)


@given(documents, st.sampled_from(["", " ", "\n\t"]))
def test_a_body_is_extended_and_otherwise_kept_byte_for_byte(document, space):
    body = (space + json.dumps(document)).replace("{", "{" + space, 1).encode()
    extended = add_bootstrap(body, document, "10.0.0.1", 8998)
    start = body.index(b"{") + 1
    assert extended.startswith(body[:start])
    assert extended.endswith(body[start:])
    found = json.loads(extended)
    assert {k: v for k, v in found.items() if k not in FIELDS} == document
    assert set(found) == FIELDS | set(document)
