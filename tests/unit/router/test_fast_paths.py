"""The two ways to read bytes, by memory or by hand and by llhttp, say the same of all bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sglrouter.fleet.workers import Address
from sglrouter.serving.target import Target
from sglrouter.wire.framing import Broken, Chunked, Counted
from sglrouter.wire.memory import RequestMemory
from sglrouter.wire.upstream import Upstream

RELAXED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
GOOD = b'{"model":"tiny"}'
HOST = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n"
VARIANTS = [
    b"",
    b"x-request-id: abc\r\n",
    b'x-request-id: a"b\\c\r\n',
    b"x-request-id: a b\r\n",
    b"X-Request-Id:abc\r\n",
    b"traceparent: 00-ab-cd-01\r\ntracestate: a=b, c=d\r\n",
    b"x-amzn-trace-id: Root=1-2-3\r\nx-forwarded-for: 1.2.3.4, 5.6.7.8\r\n",
    b"x-forwarded-for: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\n",
    b"x-session-id: s1\r\n",
    b"x-session-id: s2\r\nconnection: x-session-id\r\n",
    b"x-session-id:\r\nx-session-id: s3\r\n",
    b"connection: x-request-id\r\nx-request-id: abc\r\n",
    b"connection: close\r\n",
    b"upgrade: h2c\r\nconnection: upgrade\r\n",
    b"expect: 100-continue\r\n",
    b"traceparent: " + b"t" * 300 + b"\r\n",
    b"traceparent: caf\xc3\xa9\r\n",
    b"traceparent: a\x00\r\n",
    b"traceparent: a\r\n b\r\n",
    b"host: y\r\n",
]
requests = st.lists(
    st.tuples(
        st.sampled_from(VARIANTS),
        st.sampled_from([b"%d"] * 8 + [b"0%d", b"%d ", b"+%d", b"0x%x", b"-%d"]),
        st.sampled_from([b"", b"\r\n"]),
        st.integers(0, 40),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


def encode(variant: bytes, number: bytes, before: bytes, pad: int, chunked: bool) -> bytes:
    body = GOOD + b" " * pad
    head = before + HOST + variant
    if chunked:
        return head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return head + b"content-length: " + number % len(body) + b"\r\n\r\n" + body


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % len(data) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


class NoMemory(RequestMemory):
    """The slow path alone."""

    def add(self, *_args, **_options) -> None:
        return


async def served(lab, sent: list[bytes], *, memory: bool) -> tuple[list[object], list[bytes]]:
    """What the worker got of these segments, and what the client was told."""
    async with lab.world(lab.FakeWorker()) as world:
        if not memory:
            world.router.known_requests = NoMemory(world.router.document)
        client = await world.client()
        await lab.until(lambda: world.router.clients)
        (connection,) = world.router.clients
        for piece in sent:
            connection.data_received(piece)
        await lab.until(lambda: not (connection.exchange or connection._ahead), "all answered")
        client.writer.write_eof()
        answers = await client.rest()
        got = [
            (r.head.replace(world.workers[0].id.encode(), b"W"), r.body)
            for r in world.workers[0].requests
        ]
        prefix = world.router._id_prefix.encode()
        return [(h.replace(prefix, b"P"), b) for h, b in got], [
            line
            for line in answers.replace(prefix, b"P").split(b"\r\n")
            if not line.startswith(b"x-sglctl-worker")
        ]


def test_memory_gives_a_worker_the_bytes_that_llhttp_gives(lab):
    """Whatever is repeated, pipelined and cut: the same requests, the same answers."""

    @settings(max_examples=60, **RELAXED)
    @given(requests, st.integers(0, 4), st.lists(st.integers(0, 10_000), max_size=8))
    @example([(b"", b"%d", b"", 3, False)] * 4, 0, [])
    @example([(variant, b"%d", b"", 3, False) for variant in VARIANTS[:12]], 3, [])
    @example([(b"x-request-id: abc\r\n", b"%d", b"", 3, False)] * 4, 1, [700, 30])
    @example([(b"", b"%d", b"", 3, False)] * 3 + [(b"", b"+%d", b"", 0, False)], 0, [])
    def check(sent, repeats, cuts):
        data = b"".join(encode(*item) for item in sent for _ in range(repeats + 1))
        segments = pieces(data, cuts)

        async def scenario():
            with_memory = await served(lab, segments, memory=True)
            assert with_memory == await served(lab, segments, memory=False)

        lab.run(scenario())

    check()


CHANGING = [
    b"content-length",
    b"x-request-id",
    b"x-forwarded-for",
    b"x-session-id",
    b"traceparent",
    b"x-amzn-trace-id",
]
VALUES = [
    b"16",
    b"a b",
    b'a"b\\c',
    b"",
    b" 16",
    b"16 ",
    b"16\t",
    b"t" * 300,
    b"a\x00",
    b"a\rb",
    b"a\nb: c",
    b"a\r\n b",
    b"caf\xc3\xa9",
    b"a\x7f",
    b"0x10",
    b"9" * 25,
]


@pytest.mark.parametrize("name", CHANGING)
@pytest.mark.parametrize("value", VALUES)
def test_a_value_in_a_remembered_head_is_judged_anew(lab, name, value):
    """Nothing slips in where a harmless value stood."""
    length = b"" if name == b"content-length" else b"content-length: 16\r\n"

    def request(given: bytes) -> bytes:
        return HOST + name + b": " + given + b"\r\n" + length + b"\r\n" + GOOD

    async def scenario():
        segments = [request(b"16")] * 3 + [request(value), request(b"16")]
        with_memory = await served(lab, segments, memory=True)
        assert with_memory == await served(lab, segments, memory=False)

    lab.run(scenario())


@pytest.mark.parametrize("name", CHANGING[1:])
@pytest.mark.parametrize("odd", [b":  ", b":\t", b": \t "])
@pytest.mark.parametrize("times", [1, 20])
def test_a_header_given_twice_in_two_spellings_keeps_both_values(lab, name, odd, times):
    """Only one of the two lines can be cut: the other's value must not follow it."""

    def request(value: bytes) -> bytes:
        twice = (name + odd + b"abc\r\n") * times + name + b": " + value + b"\r\n"
        return HOST + twice + b"content-length: 16\r\n\r\n" + GOOD

    async def scenario():
        segments = [request(b"abc")] * 3 + [request(b"other"), request(b"abc")]
        with_memory = await served(lab, segments, memory=True)
        assert with_memory == await served(lab, segments, memory=False)
        assert len(with_memory[0]) == len(segments)

    lab.run(scenario())


def test_a_recalled_request_that_never_arrives_whole_is_told_by_its_route(lab):
    """As one that llhttp reads."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            for recalled in (True, False):
                if not recalled:
                    world.router.known_requests = NoMemory(world.router.document)
                client = await world.client()
                for _ in range(3):
                    client.writer.write(lab.post())
                    assert (await client.answer()).status == 200
                client.writer.write(lab.post()[:-1])
                (connection,) = world.router.clients
                await lab.until(lambda c=connection: c.partial, "half a request")
                assert bool(connection._missing) == recalled
                connection.tick(world.router.clock() + 100, 1e9)
                assert (await client.answer()).status == 408
                client.writer.close()
                await lab.until(lambda: not world.router.clients, "the client gone")
            late = [line for line in world.log() if line.get("status") == 408]
            assert [line["route"] for line in late] == ["/v1/completions"] * 2

    lab.run(scenario())


def test_a_head_seen_before_is_not_parsed_again(lab):
    """The third of the same kind is recalled, with its own length, ids and session."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            client = await world.client()
            for n in range(4):
                headers = f"x-request-id: id-{n}\r\nx-session-id: s{n}\r\n"
                client.writer.write(lab.post({"model": "tiny", "x": "y" * n}, headers=headers))
                assert (await client.answer()).status == 200
            assert len(world.router.known_requests) == 1
            (connection,) = world.router.clients
            assert connection._last is not None
            for n, request in enumerate(world.workers[0].requests):
                told = dict(request.headers)
                assert (told["x-request-id"], told["x-session-id"]) == (f"id-{n}", f"s{n}")

    lab.run(scenario())


def test_a_key_that_is_withdrawn_opens_nothing_though_its_head_is_remembered(lab, tmp_path):
    """On the very connection on which it was good a moment ago."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"a": "sk-aaaaaaaa"}')
    request = lab.post(headers="x-api-key: sk-aaaaaaaa\r\n")

    async def scenario():
        async with lab.world(lab.FakeWorker(), keys={"file": str(keys)}) as world:
            client = await world.client()
            for status in (200, 200, 200, 401):
                if status == 401:
                    assert len(world.router.known_requests) == 1
                    world.router.keys.load('{"b": "sk-bbbbbbbb"}', "test")
                client.writer.write(request)
                assert (await client.answer()).status == status

    lab.run(scenario())


def test_a_new_document_voids_what_is_remembered(lab):
    """Its session header and limits are other ones."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            client = await world.client()
            for limit, status in ((999, 200), (999, 200), (999, 200), (9, 413)):
                limits = world.router.document.limits.model_copy(update={"max_body_bytes": limit})
                if limit == 9:
                    changed = world.router.document.model_copy(update={"limits": limits})
                    world.router.configure(changed)
                client.writer.write(lab.post())
                assert (await client.answer()).status == status

    lab.run(scenario())


def test_the_memory_is_bounded_and_strangers_cannot_fill_it(lab, tmp_path):
    """Heads without a key, or refused, or for no worker, are not remembered."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"a": "sk-aaaaaaaa"}')

    async def scenario():
        async with lab.world(lab.FakeWorker(), keys={"file": str(keys)}) as world:
            client = await world.client()
            for key, path in (("wrong-key", "/v1/completions"), ("sk-aaaaaaaa", "/health")):
                for _ in range(3):
                    client.writer.write(lab.post(path=path, headers=f"x-api-key: {key}\r\n"))
                    await client.answer()
            memory = world.router.known_requests
            assert len(memory) == 0
            memory._max_bytes = 20_000
            for n in range(50):
                for _ in range(2):
                    headers = f"x-api-key: sk-aaaaaaaa\r\nx-odd: {n}\r\n"
                    client.writer.write(lab.post(headers=headers))
                    assert (await client.answer()).status == 200
                assert memory.size <= 20_000
            assert 0 < len(memory) < 50

    lab.run(scenario())


HEAD_LINES = [
    b"date: Sat, 21 Nov 2026 13:00:0%d GMT",
    b"Date:Sat, 21 Nov 2026 13:00:0%d GMT",
    b"content-length: 1%d",
    b"Content-Length:1%d",
    b"content-length: 1%d ",
    b"content-length: +1%d",
    b"transfer-encoding: chunked",
    b"content-type: application/json",
    b"connection: keep-alive",
    b"connection: close",
    b"connection: date",
    b"x-request-id: theirs-%d",
    b"x-sglctl-worker: forged",
    b"set-cookie: a=%d",
    b" folded",
    b"bad\x00: 1",
]
heads = st.tuples(
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 429 "]),
    st.lists(st.sampled_from(HEAD_LINES), max_size=5),
)


class Hears:
    """An exchange that only looks at heads."""

    head_only = False
    router = None

    def __init__(self) -> None:
        self.heard: list[object] = []

    def response_head(self, connection, raw, status):
        self.heard.append((connection.response, raw, status))

    def attempt_failed(self, cause):
        self.heard.append(cause)


@settings(max_examples=300, **RELAXED)
@given(st.lists(heads, min_size=1, max_size=3), st.integers(1, 4))
@example([(b"HTTP/1.1 200 OK", HEAD_LINES[:1] + HEAD_LINES[2:3])], 4)
def test_a_remembered_answer_head_is_what_reading_it_gives(kinds, rounds):
    """Dates, lengths and cookies change from answer to answer."""
    target = Target(b"w", Address("127.0.0.1", 1))
    connection = Upstream(target)
    for n in range(rounds):
        for status, lines in kinds:
            filled = [line % n if b"%" in line else line for line in lines]
            data = b"\r\n".join([status, *filled]) + b"\r\n\r\nbody"
            told = []
            for each in (connection, Upstream(target)):
                each.exchange, each._head = Hears(), b""
                hears = each.exchange
                each._read_head(hears, data)
                told.append(hears.heard)
            assert told[0] == told[1]


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4", True),
        (b"HTTP/1.1 204 No\r\nconnection: close", False),
        (b"HTTP/1.1 204 No", True),
        (b"HTTP/1.1 200 OK", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0", False),
    ],
)
def test_an_answer_without_a_body_says_whether_its_connection_stays(head, keep):
    connection = Upstream(Target(b"w", Address("127.0.0.1", 1)))
    found = connection._judge(head + b"\r\n\r\n")
    assert found is not None
    assert (found[0].keep, found[1]) == (keep, len(head) + 4)


class ByParser(Chunked):
    """llhttp alone."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        self._parse(data)
        return data


bodies = st.lists(
    st.one_of(
        st.binary(max_size=40).map(lambda b: b"%x\r\n%s\r\n" % (len(b), b)),
        st.binary(min_size=16, max_size=300).map(lambda b: b"%x\r\n%s\r\n" % (len(b), b)),
        st.binary(min_size=1, max_size=9).map(lambda b: b"000%X\r\n%s\r\n" % (len(b), b)),
        st.binary(min_size=1, max_size=9).map(lambda b: b"%x;a=b\r\n%s\r\n" % (len(b), b)),
        st.just(b"9\r\ndata: 1\n\n\r\n"),
        st.just(b"0\r\n\r\n"),
        st.just(b"0\r\nt: 1\r\n\r\n"),
        st.sampled_from([b"\r\n", b"+1\r\na\r\n", b"0x1\r\na\r\n", b"1_0\r\n", b"1\nab", b"HTTP"]),
    ),
    min_size=1,
    max_size=8,
)


def outcome(framing: Chunked, segments: list[bytes]) -> list[object]:
    """After each segment: whether the body ended, and whether an event did."""
    seen: list[object] = []
    for segment in segments:
        try:
            assert framing.feed(segment) == segment
        except Broken:
            return [*seen, "broken"]
        seen.append((framing.complete, framing.boundary))
        if framing.complete:
            break
    return seen


@settings(max_examples=500, **RELAXED)
@given(bodies, st.lists(st.integers(0, 10_000), max_size=6))
@example([b"9\r\ndata: 1\n\n\r\n", b"0\r\n\r\n"], [])
@example([b"9\r\ndata: 1\n\n\r\n", b"0\r\n\r\n"], [14])
@example([b"9\r\ndata: 1\n\n\r\n", b"9\r\ndata: 1\n\n\r\n", b"0\r\n\r\n"], [15])
def test_chunks_by_hand_end_where_llhttp_ends_them(chunks, cuts):
    """Any chunks, whole, in pieces or wrong."""
    segments = pieces(b"".join(chunks), cuts)
    assert outcome(Chunked(), segments) == outcome(ByParser(), segments)


@pytest.mark.parametrize(("length", "sent"), [(3, b"abcd"), (0, b"a")])
def test_an_answer_longer_than_announced_is_broken(length, sent):
    with pytest.raises(Broken):
        Counted(length).feed(sent)
