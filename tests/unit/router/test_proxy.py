"""Bytes go through the router unchanged."""

from __future__ import annotations

import asyncio
import json

import pytest

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: uvicorn\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"X-Odd:   spaced  value\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_a_body_reaches_the_worker_byte_for_byte(lab):
    """Unknown fields, odd spacing, escapes and key order survive."""
    body = b' {"model" : "tiny",  "zzz":1e5, "a":"\\u00e9", "messages":[ ] ,"zzz":2}\n'

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            answer = await world.ask(lab.post(body=body))
            assert answer.status == 200
            assert world.workers[0].requests[0].body == body

    lab.run(scenario())


def test_only_hop_by_hop_host_and_credentials_change_in_the_head(lab):
    """Unknown headers arrive in order, with their case and value."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            await world.ask(
                lab.post(
                    path="/v1/completions?x=%20y&x=2",
                    headers="X-First: 1\r\nAuthorization: Bearer sk-secret\r\nx-api-key: k\r\n"
                    "Connection: keep-alive, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: 5\r\n"
                    "TE: trailers\r\n"
                    "traceparent: 00-ab-cd-01\r\nX-first: 2\r\nX-Request-Id: mine-1\r\n",
                )
            )
            received = world.workers[0].requests[0]
            assert received.head.split(b"\r\n")[0] == b"POST /v1/completions?x=%20y&x=2 HTTP/1.1"
            assert received.headers == [
                ("host", world.workers[0].id),
                ("Content-Type", "application/json"),
                ("X-First", "1"),
                ("traceparent", "00-ab-cd-01"),
                ("X-first", "2"),
                ("X-Request-Id", "mine-1"),
                ("content-length", "17"),
            ]

    lab.run(scenario())


def test_a_response_keeps_its_head_and_gains_two_headers(lab):
    """Values, order and case are the worker's; worker and request id are added."""

    async def answer(request, writer):
        writer.write(
            SSE_HEAD.replace(b"Server", b"Connection: keep-alive\r\nServer")
            + chunk(b"data: 1\n\n")
            + b"0\r\n\r\n"
        )

    async def scenario():
        async with lab.world(lab.FakeWorker(answer)) as world:
            raw = await world.raw(lab.post(headers="Connection: close\r\nx-request-id: q7\r\n"))
            head, _, body = raw.partition(b"\r\n\r\n")
            expected = SSE_HEAD[:-4] + (
                b"\r\nx-sglctl-worker: %s\r\nx-sglctl-tier: chat\r\nx-request-id: q7"
                b"\r\nconnection: close" % world.workers[0].id.encode()
            )
            assert head == expected
            assert body == chunk(b"data: 1\n\n") + b"0\r\n\r\n"

    lab.run(scenario())


def test_each_token_is_passed_on_when_it_arrives(lab):
    """The second token is sent only after the client has seen the first."""
    seen = asyncio.Event()

    async def answer(request, writer):
        writer.write(SSE_HEAD + chunk(b"data: one\n\n"))
        await seen.wait()
        writer.write(chunk(b"data: two\n\n") + b"0\r\n\r\n")

    async def scenario():
        async with lab.world(lab.FakeWorker(answer)) as world:
            client = await world.client()
            client.writer.write(lab.post())
            await asyncio.wait_for(client.reader.readuntil(b"data: one\n\n"), 5)
            seen.set()
            await asyncio.wait_for(client.reader.readuntil(b"data: two\n\n\r\n0\r\n\r\n"), 5)
            client.writer.close()

    lab.run(scenario())


def test_a_chunked_request_arrives_with_a_length(lab):
    """Chunk sizes, extensions and trailers are framing: the body is what counts."""
    body = b'{"model":"tiny","x":"' + b"y" * 1000 + b'"}'
    raw = (
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        + b"5;ext=1\r\n"
        + body[:5]
        + b"\r\n"
        + chunk(body[5:])
        + b"0\r\nX-Trailer: t\r\n\r\n"
    )

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            assert (await world.ask(raw)).status == 200
            received = world.workers[0].requests[0]
            assert received.body == body
            assert ("content-length", str(len(body))) in received.headers
            assert not [k for k, _ in received.headers if k.lower() == "transfer-encoding"]

    lab.run(scenario())


def test_connections_are_kept_on_both_sides(lab):
    """Ten requests on one client connection use one connection to the worker."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            client = await world.client()
            for _ in range(10):
                client.writer.write(lab.post())
                assert (await client.answer()).status == 200
            assert world.workers[0].connections == 1
            client.writer.close()

    lab.run(scenario())


def test_pipelined_requests_are_answered_in_order(lab):
    """Fifty requests in one segment; slow and local ones keep their place."""

    async def answer(request, writer):
        number = json.loads(request.body)["n"]
        await asyncio.sleep(0.002 * (number % 3))
        body = b"%d" % number
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    async def scenario():
        async with lab.world(lab.FakeWorker(answer), lab.FakeWorker(answer)) as world:
            client = await world.client()
            health = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
            client.writer.write(
                b"".join(lab.post({"model": "tiny", "n": n}) + health for n in range(49))
                + lab.post({"model": "tiny", "n": 49}, headers="Connection: close\r\n")
            )
            raw = await client.rest()
            numbers = [
                int(x.split(b"\r\n\r\n")[1])
                for x in raw.split(b"HTTP/1.1 200 OK\r\n")
                if b"x-sglctl-worker" in x
            ]
            assert numbers == list(range(50))
            assert raw.count(b'"ready_workers":2') == 49

    lab.run(scenario())


def test_expect_continue_is_answered_by_the_router(lab):
    """The worker never sees Expect, the client gets its 100 before it sends the body."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            client = await world.client()
            head, body = lab.post(headers="Expect: 100-continue\r\n").split(b"\r\n\r\n")
            client.writer.write(head + b"\r\n\r\n")
            interim = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 5)
            assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.writer.write(body)
            assert (await client.answer()).status == 200
            assert b"xpect" not in world.workers[0].requests[0].head
            client.writer.close()

    lab.run(scenario())


def test_head_has_no_body_and_keeps_the_connection(lab):
    """A HEAD's Content-Length announces a body that does not come."""

    async def answer(request, writer):
        body = b"" if request.head.startswith(b"HEAD") else b"x" * 10
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n" + body)

    async def scenario():
        async with lab.world(lab.FakeWorker(answer)) as world:
            raw = await world.raw(
                b"HEAD /model_info HTTP/1.1\r\nhost: x\r\n\r\n"
                b"GET /model_info HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            )
            first, second, body = raw.split(b"\r\n\r\n")
            assert b"content-length: 10" in first
            assert second.startswith(b"HTTP/1.1 200 OK")
            assert body == b"x" * 10
            assert world.workers[0].connections == 1

    lab.run(scenario())


@pytest.mark.parametrize("chunked", [True, False])
def test_http_1_0_clients_get_a_body_without_chunks(lab, chunked):
    """They do not know the chunked coding; the end of the connection ends the body."""

    async def answer(request, writer):
        if chunked:
            writer.write(SSE_HEAD + chunk(b"abc") + chunk(b"def") + b"0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabcdef")
            writer.close()

    async def scenario():
        async with lab.world(lab.FakeWorker(answer)) as world:
            raw = await world.raw(b"GET /model_info HTTP/1.0\r\n\r\n")
            head, _, body = raw.partition(b"\r\n\r\n")
            assert body == b"abcdef"
            assert b"chunked" not in head
            assert b"connection: close" in head

    lab.run(scenario())


def test_an_offered_upgrade_is_ignored(lab):
    """Java's client offers h2c with every request; the request itself is served."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            upgrade += "HTTP2-Settings: AA\r\n"
            client = await world.client()
            for _ in range(2):
                client.writer.write(lab.post(headers=upgrade))
                assert (await client.answer()).status == 200
            assert b"pgrade" not in world.workers[0].requests[0].head
            client.writer.close()

    lab.run(scenario())


def test_a_slow_reader_stops_the_worker(lab):
    """Between a fast worker and a client that does not read, little is buffered."""
    sent = 0

    async def answer(request, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 80000000\r\n\r\n")
        for _ in range(80):
            writer.write(b"z" * 1_000_000)
            await writer.drain()
            sent += 1_000_000

    async def scenario():
        async with lab.world(lab.FakeWorker(answer)) as world:
            client = await world.client()
            client.writer.write(lab.post())
            await lab.until(lambda: sent > 0)
            previous = -1
            while sent != previous:
                previous = sent
                await asyncio.sleep(0.2)
            assert sent < 40_000_000
            (connection,) = world.router.clients
            assert connection.transport.get_write_buffer_size() < 2_000_000
            whole = await client.answer()
            assert len(whole.body) == 80_000_000
            client.writer.close()

    lab.run(scenario())


def test_a_large_body_goes_through_whole(lab):
    """16 MB, sent to a worker that answers only when it has it all."""
    body = json.dumps({"model": "tiny", "prompt": "p" * 16_000_000}).encode()

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            assert (await world.ask(lab.post(body=body))).status == 200
            assert world.workers[0].requests[0].body == body

    lab.run(scenario())


def test_multipart_bodies_are_not_parsed(lab):
    """An audio upload has no JSON; it goes to the only fleet."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            raw = lab.post(path="/v1/audio/transcriptions", body=b"--b\r\n\x00\xff\r\n--b--")
            raw = raw.replace(b"application/json", b"multipart/form-data; boundary=b")
            assert (await world.ask(raw)).status == 200

    lab.run(scenario())


def test_an_http10_client_gets_no_chunk_framing_however_the_answer_comes(lab):
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )

    async def piecemeal(request, writer):
        for piece in (head, b"12\r\ndata: 0123456789\n\n\r\n", b"0\r\n\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)  # each in a segment of its own

    async def scenario():
        async with lab.world(lab.FakeWorker(piecemeal)) as world:
            answer = await world.raw(b"GET /model_info HTTP/1.0\r\n\r\n")
            assert answer.partition(b"\r\n\r\n")[2] == b"data: 0123456789\n\n"

    lab.run(scenario())
