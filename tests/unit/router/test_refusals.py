"""What the router refuses: smuggling shapes, sizes, routes, models, keys."""

from __future__ import annotations

import asyncio
import json

import pytest

GOOD = b'{"model":"tiny"}'
HOST = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n"

SMUGGLING = {
    "CL and TE": HOST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": HOST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": HOST + b"content-length: 16\r\ncontent-length: 17\r\n\r\n" + GOOD,
    "the same length twice": HOST + b"content-length: 16\r\ncontent-length: 16\r\n\r\n" + GOOD,
    "a list of lengths": HOST + b"content-length: 16, 16\r\n\r\n" + GOOD,
    "a signed length": HOST + b"content-length: +16\r\n\r\n" + GOOD,
    "a negative length": HOST + b"content-length: -1\r\n\r\n",
    "a hexadecimal length": HOST + b"content-length: 0x10\r\n\r\n" + GOOD,
    "an endless length": HOST + b"content-length: 99999999999999999999999\r\n\r\n",
    "gzip then chunked": HOST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HOST + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in two headers": HOST
    + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": HOST + b"transfer-encoding: identity\r\n\r\n",
    "a coding with a tab": HOST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": HOST.replace(b"1.1", b"1.0")
    + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"POST /v1/completions HTTP/1.1\nhost: x\ncontent-length: 16\n\n" + GOOD,
    "one bare LF": HOST + b"a: b\ncontent-length: 16\r\n\r\n" + GOOD,
    "bare CR": HOST + b"a: b\rc: d\r\ncontent-length: 16\r\n\r\n" + GOOD,
    "a folded header": HOST + b"a: b\r\n c\r\ncontent-length: 16\r\n\r\n" + GOOD,
    "a space before the colon": HOST + b"content-length : 16\r\n\r\n" + GOOD,
    "a header without a name": HOST + b": b\r\n\r\n",
    "a NUL in a header": HOST + b"a: \x00\r\n\r\n",
    "a bad chunk size": HOST + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a signed chunk size": HOST + b"transfer-encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
    "an endless chunk size": HOST + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "a chunk longer than said": HOST + b"transfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "a chunk ended by LF": HOST + b"transfer-encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    "two hosts": HOST + b"host: y\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.7": b"GET / HTTP/3.7\r\nhost: x\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    "an unknown method": b"EAT /v1/completions HTTP/1.1\r\nhost: x\r\n\r\n",
    "headers over 64 KB": HOST + b"".join(b"h%d: %s\r\n" % (n, b"v" * 1000) for n in range(70)),
    "one endless header": HOST + b"a: " + b"v" * 200_000,
    "an endless target": b"GET /" + b"v" * 200_000,
    "endless trailers": HOST
    + b"transfer-encoding: chunked\r\n\r\n0\r\n"
    + b"".join(b"t%d: %s\r\n" % (n, b"v" * 1000) for n in range(70)),
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_a_smuggling_shape_gets_400_and_a_closed_connection(lab, name):
    """Nothing of it, and nothing behind it, reaches a worker."""
    behind = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n" + GOOD

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            raw = await world.raw(SMUGGLING[name] + behind)
            head, _, body = raw.partition(b"\r\n\r\n")
            assert head.split(b" ")[1] == b"400", raw
            assert b"connection: close" in head
            assert json.loads(body)["error"]["type"] == "invalid_request_error"
            assert world.workers[0].requests == []
            assert not world.router.exchanges

    lab.run(scenario())


def test_a_refusal_waits_for_the_answers_before_it(lab):
    """Garbage after a good request closes the connection only after that request's answer."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            raw = await world.raw(lab.post() + b"garbage\r\n\r\n")
            assert raw.startswith(b"HTTP/1.1 200 OK")
            assert raw.count(b"HTTP/1.1 400 ") == 1

    lab.run(scenario())


BIG = {
    "announced": b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\n",
    "chunked": b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"3e8\r\n"
    + b"x" * 1000
    + b"\r\n",
    "before it is sent": b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n"
    b"expect: 100-continue\r\n\r\n",
}


@pytest.mark.parametrize("name", BIG)
def test_a_body_over_the_limit_gets_413(lab, name):
    """In OpenAI's shape, at once, and the connection closes."""

    async def scenario():
        async with lab.world(lab.FakeWorker(), limits={"max_body_bytes": 999}) as world:
            raw = await world.raw(BIG[name])
            head, _, body = raw.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 413 ")
            assert json.loads(body)["error"]["code"] == "request_too_large"
            assert world.workers[0].requests == []

    lab.run(scenario())


BODIES = [
    (b"{", 400, "invalid_json"),
    (b"", 400, "invalid_json"),
    (b"[1]", 400, "invalid_json"),
    (b"[" * 100_000, 400, "invalid_json"),
    (b'{"model": 1}', 400, "invalid_model"),
    (b'{"model": "other"}', 404, "model_not_found"),
]


@pytest.mark.parametrize(("body", "status", "code"), BODIES)
def test_a_body_that_cannot_be_routed_is_refused(lab, body, status, code):
    """And the connection stays usable."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            client = await world.client()
            client.writer.write(lab.post(body=body) + lab.post())
            refused = await client.answer()
            assert (refused.status, refused.error["code"]) == (status, code)
            assert set(refused.error) == {"message", "type", "param", "code"}

    lab.run(scenario())


def test_nan_is_passed_on_as_engines_accept_it(lab):
    """Python's JSON has NaN; a strict parser must not refuse it."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            answer = await world.ask(lab.post(body=b'{"model":"tiny","x":NaN}'))
            assert answer.status == 200

    lab.run(scenario())


ADMIN_PATHS = [
    "/flush_cache",
    "/update_weights_from_disk",
    "/abort_request",
    "/set_internal_state",
    "/pause_generation",
    "/server_info",
    "/get_server_info",
    "/metrics",
    "/v1/loads",
    "/v1/load_lora_adapter",
    "/v1/../flush_cache",
    "/v1/%2e%2e/flush_cache",
    "/v1//flush_cache",
    "/%66lush_cache",
    "//flush_cache",
    "/v1/%5c..%5cflush_cache",
    "/",
    "http://x/flush_cache",
]


@pytest.mark.parametrize("path", ADMIN_PATHS)
def test_clients_cannot_reach_an_engines_administration(lab, path):
    """Whatever the spelling."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            for request in (lab.post(path=path), lab.post(path=path + "?a=/v1/completions")):
                answer = await world.ask(request)
                assert (answer.status, answer.error["code"]) == (404, "route_not_found")
            assert world.workers[0].requests == []

    lab.run(scenario())


def test_keys_open_everything_but_health(lab, tmp_path):
    """A wrong or missing key is told in OpenAI's shape; the key never reaches the worker."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"alice": "sk-alice-123", "bob": "sk-bob-45678"}))

    async def scenario():
        async with lab.world(lab.FakeWorker(), keys={"file": str(keys)}) as world:
            for header, status in [
                ("", 401),
                ("Authorization: Bearer sk-alice-12\r\n", 401),
                ("Authorization: Basic sk-alice-123\r\n", 401),
                ("Authorization: Bearer sk-alice-123\r\n", 200),
                ("x-api-key: sk-bob-45678\r\n", 200),
            ]:
                answer = await world.ask(lab.post(headers=header))
                assert answer.status == status, header
                if status == 401:
                    assert answer.error["code"] == "invalid_api_key"
            models = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
            assert (await world.ask(models)).status == 401
            assert (await world.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")).status == 200
            assert (await world.ask(lab.post(path="/flush_cache"))).status == 401
            assert len(world.workers[0].requests) == 2
            assert not [r for r in world.workers[0].requests if b"sk-" in r.head]
            lines = world.log()
            assert [x["key"] for x in lines if x.get("status") == 200] == ["alice", "bob"]
            assert "sk-" not in json.dumps(lines)

    lab.run(scenario())


def test_an_unauthorised_body_is_not_kept(lab, tmp_path):
    """It is read to keep the connection, and thrown away."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"a": "sk-aaaaaaaa"}')

    async def scenario():
        async with lab.world(lab.FakeWorker(), keys={"file": str(keys)}) as world:
            client = await world.client()
            request = lab.post(body=b"x" * 500_000)
            client.writer.write(request[:-100])
            await lab.until(lambda: any(c._body_bytes for c in world.router.clients))
            assert [c._body for c in world.router.clients] == [[]]
            client.writer.write(request[-100:] + lab.post(headers="x-api-key: sk-aaaaaaaa\r\n"))
            assert (await client.answer()).status == 401
            assert (await client.answer()).status == 200

    lab.run(scenario())


def test_a_model_name_that_cannot_be_written_is_refused(lab):
    """A lone surrogate passes Python's parser, and would fail in the answer and in the log."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            answer = await world.ask(lab.post(body=b'{"model": "\\ud800"}'))
            assert (answer.status, answer.error["code"]) == (400, "invalid_json")
            assert world.workers[0].requests == []

    lab.run(scenario())


def test_a_name_nested_beyond_measure_harms_nobody(lab):
    """Waiting in the queue, it once raised inside the request that made room for it."""
    deep = b'{"model": "tiny", "lora_path": ' + b"[" * 1000 + b"]" * 1000 + b"}"
    go = asyncio.Event()

    async def held(request, writer):
        await go.wait()
        await lab.plain()(request, writer)

    async def scenario():
        fleet = {"models": ["tiny"], "max_in_flight": 1}
        async with lab.world(lab.FakeWorker(held), fleets={"chat": fleet}) as world:
            first, second = await world.client(), await world.client()
            first.writer.write(lab.post())
            await lab.until(lambda: len(world.workers[0].requests) == 1)
            second.writer.write(lab.post(body=deep))
            await lab.until(lambda: len(world.router.workers.fleets["chat"].queue) == 1)
            go.set()
            assert (await first.answer()).status == 200
            assert (await second.answer()).complete
            await lab.until(lambda: not world.router.exchanges)
            assert world.router.workers.fleets["chat"].in_flight == 0

    lab.run(scenario())


def test_a_defect_ends_one_connection_and_is_logged(lab, monkeypatch):
    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:

            def broken(*_):
                raise ZeroDivisionError

            with monkeypatch.context() as patch:
                patch.setattr("sglrouter.serving.core.read_body", broken)
                assert not (await world.ask(lab.post())).complete
            assert (await world.ask(lab.post())).status == 200
            (line,) = [line for line in world.log() if line["event"] == "defect"]
            assert "ZeroDivisionError" in line["traceback"]

    lab.run(scenario())


def test_headers_that_override_fields_of_the_body_are_dropped(lab):
    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            await world.ask(lab.post(headers="X-Override-Bootstrap-Host: 10.9.9.9\r\nX-Own: 1\r\n"))
            names = [name.lower() for name, _ in world.workers[0].requests[0].headers]
            assert "x-own" in names
            assert "x-override-bootstrap-host" not in names

    lab.run(scenario())
