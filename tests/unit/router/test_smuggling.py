"""Shapes that smuggle requests past a proxy, or tire it: refused, and nothing reaches a worker."""

from __future__ import annotations

import pytest

GOOD = b'{"model":"tiny"}'
LINE = b"POST /v1/completions HTTP/1.1\r\n"
HOST = LINE + b"host: x\r\n"
LENGTH = b"content-length: 16\r\n"
CHUNKED = HOST + b"transfer-encoding: chunked\r\n\r\n"
BEHIND = HOST + LENGTH + b"\r\n" + GOOD

ABUSE = {
    "a length and then chunks": (
        HOST + LENGTH + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunks and then a length": (
        HOST + b"transfer-encoding: chunked\r\n" + LENGTH + b"\r\n0\r\n\r\n",
        400,
    ),
    "two equal lengths": (HOST + LENGTH + LENGTH + b"\r\n" + GOOD, 400),
    "two lengths": (HOST + LENGTH + b"content-length: 5\r\n\r\n" + GOOD, 400),
    "a length in another script": (
        HOST + "content-length: ١٦\r\n\r\n".encode() + GOOD,
        400,
    ),
    "a length with a point": (HOST + b"content-length: 1.6\r\n\r\n" + GOOD, 400),
    "an empty length": (HOST + b"content-length: \r\n\r\n" + GOOD, 400),
    "a length with an underscore": (HOST + b"content-length: 1_6\r\n\r\n" + GOOD, 400),
    "lines that end in LF": (BEHIND.replace(b"\r\n", b"\n"), 400),
    "one line that ends in LF": (HOST + b"a: b\n" + LENGTH + b"\r\n" + GOOD, 400),
    "a length behind LF": (HOST + b"a: b\ncontent-length: 5\r\n" + LENGTH + b"\r\n" + GOOD, 400),
    "a length behind CR": (HOST + b"a: b\rcontent-length: 5\r\n" + LENGTH + b"\r\n" + GOOD, 400),
    "a folded length": (HOST + b"content-length:\r\n 16\r\n\r\n" + GOOD, 400),
    "a folded line": (HOST + b"a: b\r\n\tcontent-length: 5\r\n" + LENGTH + b"\r\n" + GOOD, 400),
    "a fold before the first line": (LINE + b" host: x\r\n" + LENGTH + b"\r\n" + GOOD, 400),
    "NUL in a value": (HOST + b"a: b\x00c\r\n" + LENGTH + b"\r\n" + GOOD, 400),
    "NUL in a name": (HOST + b"a\x00: b\r\n" + LENGTH + b"\r\n" + GOOD, 400),
    "a bell in a value": (HOST + b"a: \x07\r\n" + LENGTH + b"\r\n" + GOOD, 400),
    "DEL in a value": (HOST + b"a: \x7f\r\n" + LENGTH + b"\r\n" + GOOD, 400),
    "a space before the colon": (HOST + b"content-length : 16\r\n\r\n" + GOOD, 400),
    "a tab before the colon": (HOST + b"content-length\t: 16\r\n\r\n" + GOOD, 400),
    "a space in a name": (HOST + b"con tent: 16\r\n\r\n" + GOOD, 400),
    "a name of brackets": (HOST + b"{x}: 1\r\n\r\n" + GOOD, 400),
    "a line without a colon": (HOST + b"content-length 16\r\n\r\n" + GOOD, 400),
    "a vertical tab before chunked": (
        HOST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked in quotes": (HOST + b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n', 400),
    "chunked with a parameter": (HOST + b"transfer-encoding: chunked;a=b\r\n\r\n0\r\n\r\n", 400),
    "chunked, then identity": (HOST + b"transfer-encoding: chunked, identity\r\n\r\n", 400),
    "a chunk size with 0x": (CHUNKED + b"0x10\r\n" + GOOD + b"\r\n0\r\n\r\n", 400),
    "a chunk size with a plus": (CHUNKED + b"+10\r\n" + GOOD + b"\r\n0\r\n\r\n", 400),
    "a negative chunk size": (CHUNKED + b"-1\r\n\r\n0\r\n\r\n", 400),
    "a space before a chunk size": (CHUNKED + b" 10\r\n" + GOOD + b"\r\n0\r\n\r\n", 400),
    "a chunk size with an underscore": (CHUNKED + b"1_0\r\n" + GOOD + b"\r\n0\r\n\r\n", 400),
    "no chunk size": (CHUNKED + b"\r\n" + GOOD + b"\r\n0\r\n\r\n", 400),
    "a chunk size of 65 bits": (CHUNKED + b"10000000000000010\r\n" + GOOD + b"\r\n", 400),
    "a chunk without its CRLF": (CHUNKED + b"10\r\n" + GOOD + b"0\r\n\r\n", 400),
    "a chunk ended by LF": (CHUNKED + b"10\r\n" + GOOD + b"\n0\r\n\r\n", 400),
    "a size line ended by LF": (CHUNKED + b"10\n" + GOOD + b"\r\n0\r\n\r\n", 400),
    "a size line ended by CR": (CHUNKED + b"10\r" + GOOD + b"\r\n0\r\n\r\n", 400),
    "endless chunk extensions": (CHUNKED + b"10;" + b"a=b;" * 40_000, 400),
    "many chunks of long extensions": (
        CHUNKED + (b"1;" + b"e" * 5000 + b"\r\na\r\n") * 40,
        400,
    ),
    "LF in a chunk extension": (CHUNKED + b"10;a\nb\r\n" + GOOD + b"\r\n0\r\n\r\n", 400),
    "a length in the trailers": (CHUNKED + b"0\r\ncontent-length : 5\r\n\r\n", 400),
    "a missing host": (LINE + LENGTH + b"\r\n" + GOOD, 400),
    "two hosts": (HOST + b"host: y\r\n" + LENGTH + b"\r\n" + GOOD, 400),
    "HTTP/0.9": (b"GET /v1/models\r\n\r\n", 400),
    "HTTP/1.2": (HOST.replace(b"1.1", b"1.2") + b"\r\n", 400),
    "HTTP/01.1": (HOST.replace(b"1.1", b"01.1") + b"\r\n", 400),
    "http in lower case": (HOST.replace(b"HTTP", b"http") + b"\r\n", 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a method in lower case": (BEHIND.replace(b"POST", b"post"), 400),
    "a method and a tab": (BEHIND.replace(b"POST ", b"POST\t"), 400),
    "a tab before the version": (BEHIND.replace(b" HTTP", b"\tHTTP"), 400),
    "no target": (b"POST HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "a control byte in the target": (BEHIND.replace(b"/v1", b"/\x01v1"), 400),
    "a target that is no path": (BEHIND.replace(b"/v1/completions", b"v1/completions"), 400),
    "CONNECT": (b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n", 405),
    "an unknown expectation": (HOST + b"expect: 200-ok\r\n" + LENGTH + b"\r\n", 417),
    "an endless header": (HOST + b"a: " + b"v" * 200_000, 400),
    "too many headers": (HOST + b"".join(b"h%d: v\r\n" % n for n in range(9000)), 400),
    "an endless target": (b"POST /" + b"v" * 200_000, 400),
    "an endless method": (b"P" * 200_000, 400),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}


@pytest.mark.parametrize("name", ABUSE)
def test_abuse_is_refused_and_the_connection_closed(lab, name):
    """Alone, and behind good requests whose head is remembered; nothing behind it is served."""
    data, status = ABUSE[name]

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            for before in (0, 3):
                world.workers[0].requests.clear()
                raw = await world.raw(BEHIND * before + data + BEHIND * 2)
                assert raw.count(b"HTTP/1.1 200 ") == before
                assert raw.count(b"HTTP/1.1 %d " % status) == 1, raw
                assert [r.body for r in world.workers[0].requests] == [GOOD] * before
            assert not world.router.exchanges

    lab.run(scenario())
