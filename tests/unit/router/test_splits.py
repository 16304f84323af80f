"""However TCP cuts the bytes, the request and the answer are the same."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LENGTH = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % len(data) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


bodies = st.builds(
    lambda text, pad: json.dumps({"model": "tiny", "prompt": text}).encode() + b" " * pad,
    st.text(max_size=50),
    st.integers(0, 3),
)
requests = st.lists(st.tuples(bodies, st.integers(0, 40)), min_size=1, max_size=3)


def encode(body: bytes, size: int) -> bytes:
    """One request: with a length (size 0), or in chunks of `size` bytes."""
    head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nx-a: 1\r\n"
    if size == 0:
        return head + b"content-length: %d\r\n\r\n%s" % (len(body), body)
    parts = b"".join(chunk(body[n : n + size]) for n in range(0, len(body), size))
    return head + b"transfer-encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"


def test_any_split_of_the_requests_gives_the_same_upstream_requests(lab):
    """Pipelined, chunked or not, cut anywhere."""

    @settings(max_examples=60, **LENGTH)
    @given(requests, st.lists(st.integers(0, 10_000), max_size=12))
    def check(sent, cuts):
        async def scenario():
            async with lab.world(lab.FakeWorker()) as world:
                client = await world.client()
                await lab.until(lambda: world.router.clients)
                (connection,) = world.router.clients
                data = b"".join(encode(body, size) for body, size in sent)
                for piece in pieces(data, cuts):
                    connection.data_received(piece)
                for _ in sent:
                    assert (await client.answer()).status == 200
                received = world.workers[0].requests
                assert [r.body for r in received] == [body for body, _ in sent]
                for request in received:
                    assert [h for h in request.headers if h[0] not in ("host", "x-request-id")] == [
                        ("x-a", "1"),
                        ("content-length", str(len(request.body))),
                    ]

        lab.run(scenario())

    check()


events = st.lists(
    st.builds(lambda t: b"data: " + json.dumps({"t": t}).encode() + b"\n\n", st.text(max_size=20)),
    min_size=1,
    max_size=6,
)


def test_any_split_of_a_stream_gives_the_client_the_same_bytes(lab):
    """Framing included."""

    @settings(max_examples=60, **LENGTH)
    @given(events, st.lists(st.integers(0, 10_000), max_size=10))
    def check(stream, cuts):
        data = SSE_HEAD + b"".join(map(chunk, stream)) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"

        async def answer(request, writer):
            for piece in pieces(data, cuts):
                writer.write(piece)
                await asyncio.sleep(0)

        async def scenario():
            async with lab.world(lab.FakeWorker(answer)) as world:
                raw = await world.raw(lab.post(headers="connection: close\r\n"))
                assert raw.partition(b"\r\n\r\n")[2] == data.partition(b"\r\n\r\n")[2]
                assert not world.router.metrics.truncations

        lab.run(scenario())

    check()


def test_a_stream_cut_at_any_byte_is_never_taken_for_a_whole_one(lab):
    """An error event without [DONE], or a body that ends too early; before its head, 503."""

    @settings(max_examples=80, **LENGTH)
    @given(events, st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=4))
    def check(stream, end, cuts):
        whole = SSE_HEAD + b"".join(map(chunk, stream)) + chunk(b"data: more\n\n")
        data = whole[: 1 + end % len(whole)]

        async def answer(request, writer):
            for piece in pieces(data, cuts):
                writer.write(piece)
                await asyncio.sleep(0)
            await writer.drain()
            writer.close()

        async def scenario():
            async with lab.world(lab.FakeWorker(answer)) as world:
                got = await world.ask(lab.post())
                assert b"[DONE]" not in got.body
                if len(data) < len(SSE_HEAD):
                    assert got.status == 503
                elif got.complete:
                    last = got.body.split(b"\n\n")[-2]
                    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == (
                        "upstream_failed"
                    )
                assert not world.router.exchanges
                assert [w.in_flight for w in world.router.workers.workers.values()] == [0]

        lab.run(scenario())

    check()
