"""The inner loops in C and their twins in Python do the same."""

from __future__ import annotations

import gc
import importlib.util
import json
import mmap
import shutil
import subprocess
import sys
import sysconfig
import weakref
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.inner import relay, table
from sglrouter.serving import usage
from sglrouter.wire.framing import Broken, Chunked

BUILT = importlib.util.find_spec("sglrouter.inner._inner") is not None
if BUILT:
    from sglrouter.inner import _inner
needs_c = pytest.mark.skipif(not BUILT, reason="sglrouter.inner._inner was not built: no compiler")

METERS = [relay.Meter, *([_inner.Meter] if BUILT else [])]
PAIRS = [(relay.Relay, relay.Meter), *([(_inner.Relay, _inner.Meter)] if BUILT else [])]


def test_the_c_is_built_where_a_compiler_is():
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if not headers.exists() or not (shutil.which("gcc") or shutil.which("cc")):
        pytest.skip("no compiler, or no headers of Python")
    assert BUILT, "run cli/bootstrap.sh again"


# meters


@pytest.mark.parametrize("make", METERS)
@given(pieces=st.lists(st.binary(max_size=20), max_size=12))
def test_a_meter_passes_on_counts_and_keeps_the_end(make: Callable[[], Any], pieces: list[bytes]):
    meter, out = make(), []
    meter.sink = out.append
    for piece in pieces:
        meter.write(piece)
    assert out == pieces
    assert (meter.sent, meter.events) == (sum(map(len, pieces)), len(pieces))
    assert meter.tail == b"".join(pieces[-relay.TAIL_PIECES :])


@pytest.mark.parametrize("make", METERS)
def test_a_meter_that_refers_to_itself_is_collected(make: type[Any]):
    class Owner(make):  # type: ignore[misc]
        def take(self, data: bytes) -> None:
            pass

    owner = Owner()
    owner.sink = owner.take
    owner.write(b"x")
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("make", METERS)
def test_what_the_sink_raises_is_raised(make: Callable[[], Any]):
    def broken(data: bytes) -> None:
        raise ConnectionError("gone")

    meter = make()
    meter.sink = broken
    with pytest.raises(ConnectionError):
        meter.write(b"x")


# relays

CHUNK = st.builds(
    lambda data, form: form % len(data) + b"\r\n" + data + b"\r\n",
    st.one_of(st.binary(min_size=1, max_size=40), st.just(b"x" * 0x1234)),
    st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a=b"]),
)
SEGMENT = st.one_of(
    CHUNK,
    st.builds(lambda a, b: a + b, CHUNK, CHUNK),
    st.builds(lambda data, cut: data[:cut], CHUNK, st.integers(0, 30)),
    st.binary(max_size=12),
    st.sampled_from([b"0\r\n\r\n", b"1\r\n\r\r\n", b"\r\n\r\n", b"4\r\nab\r\n\r\n", b"-1\r\n\r\n"]),
)


@pytest.mark.parametrize("pair", PAIRS)
@given(data=SEGMENT)
def test_only_whole_chunks_pass_a_relay_unseen(pair: Any, data: bytes):
    make, meter_of = pair
    seen: list[bytes] = []

    class Connection(make):  # type: ignore[misc]
        def received(self, data: bytes) -> None:
            seen.append(data)

    connection, out = Connection(), []
    connection.fast = meter = meter_of()
    meter.sink = out.append
    connection.data_received(data)
    assert out + seen == [data]
    if out:
        framing = Chunked()
        assert framing.feed(data) == data
        assert framing.boundary
        assert not framing.complete


@pytest.mark.parametrize("pair", PAIRS)
def test_a_relay_without_a_meter_lets_everything_be_looked_at(pair: Any):
    make, _ = pair
    seen: list[bytes] = []
    connection = type("Connection", (make,), {"received": lambda self, data: seen.append(data)})()
    connection.fast = None
    connection.data_received(b"3\r\nabc\r\n")
    assert seen == [b"3\r\nabc\r\n"]


@pytest.mark.parametrize("pair", PAIRS)
def test_a_client_may_go_while_it_is_written_to(pair: Any):
    make, meter_of = pair
    connection = type("Connection", (make,), {})()
    meter = connection.fast = meter_of()

    def sink(data: bytes) -> None:
        connection.fast.sink = None
        connection.fast = None
        gc.collect()

    meter.sink = sink
    del meter
    connection.data_received(b"10\r\n0123456789abcdef\r\n")
    assert connection.fast is None


def test_a_chunk_that_is_not_whole_is_broken_or_waited_for():
    for data in (b"3\r\nabcd\r\n", b"x\r\n"):
        with pytest.raises(Broken):
            Chunked().feed(data)


# tables

BLOCKS = st.lists(st.integers(1, 2**64 - 1).map(lambda n: n % 61 or 1 << 63), max_size=12)
STEP = st.tuples(BLOCKS, st.integers(-1, 5000))


@needs_c
@given(steps=st.lists(STEP, max_size=30), buckets=st.integers(1, 40))
def test_both_tables_say_and_write_the_same(steps: list[tuple[list[int], int]], buckets: int):
    size = table.HEADER_BYTES + buckets * table.WAYS * table.ENTRY_BYTES
    memories = [memoryview(mmap.mmap(-1, size)) for _ in range(2)]
    ours = table.Table(memories[0], buckets, 3)
    theirs = _inner.Index(memories[1], buckets, 3)
    for blocks, slot in steps:
        given = array("Q", blocks).tobytes() if slot % 2 else blocks  # as hash_blocks gives them
        mine, other = ours.match(blocks), theirs.match(given)
        assert mine.depths() == other.depths()
        ours.record(blocks, mine, slot)
        theirs.record(given, other, slot)
        assert bytes(memories[0][:size]) == bytes(memories[1][:size])


@needs_c
def test_a_match_of_another_table_is_refused():
    tables = [_inner.Index(memoryview(bytearray(32 + 32 * n)), n, 1) for n in (1, 1000)]
    match = tables[1].match([7])
    with pytest.raises(ValueError, match="another"):
        tables[0].record([7], match, 1)


@needs_c
def test_a_match_keeps_its_table():
    match = _inner.Index(memoryview(bytearray(32 + 32 * 1000)), 1000, 1).match([7])
    gc.collect()
    small = _inner.Index(memoryview(bytearray(64)), 1, 1)
    with pytest.raises(ValueError, match="another"):
        small.record([7], match, 1)


BAD_TABLES = [(64, 2, 1), (31, 1, 1), (64, 0, 1), (64, 1, 0), (64, 2**62, 1)]


@needs_c
@pytest.mark.parametrize(("size", "buckets", "per_tick"), BAD_TABLES)
def test_a_table_beyond_its_memory_is_refused(size: int, buckets: int, per_tick: int):
    with pytest.raises(ValueError, match="fit"):
        _inner.Index(memoryview(bytearray(size)), buckets, per_tick)


@needs_c
@pytest.mark.parametrize("blocks", [(1, 2), [-1], [1 << 64], ["x"], None, b"seven..", "x"])
def test_what_is_no_list_of_hashes_is_refused(blocks: Any):
    rows = _inner.Index(memoryview(bytearray(64)), 1, 1)
    with pytest.raises((TypeError, OverflowError)):
        rows.match(blocks)


# usage

COUNT = st.one_of(st.integers(0, 10**16), st.none(), st.sampled_from([1.5, True, "7", -3, [], {}]))
NAME = st.sampled_from(
    [
        "prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens",
        "cached_tokens", "cache_read_input_tokens", "reasoning_tokens",
    ]
)  # fmt: skip
DETAILS = st.dictionaries(NAME, COUNT, max_size=3)
USAGE = st.dictionaries(
    st.one_of(NAME, st.sampled_from(["prompt_tokens_details", "input_tokens_details"])),
    st.one_of(COUNT, DETAILS),
    max_size=6,
)


@needs_c
@given(
    document=st.one_of(USAGE, st.none()),
    before=st.sampled_from([b"", b'{"usage":{"prompt_tokens":1}}', b'"usage":null', b'"usage":']),
    after=st.sampled_from([b"}", b"}\r\n0\r\n\r\n", b',"usage":null}', b"", b'}"usage":{']),
    compact=st.booleans(),
    cut=st.integers(0, 40),
)
def test_what_c_reads_of_usage_is_what_python_reads(document, before, after, compact, cut):
    separators = (",", ":") if compact else (", ", ": ")
    text = json.dumps(document, separators=separators).encode()
    tail = before + b'"usage":' + text[: len(text) - cut if cut < 10 else None] + after
    found = _inner.scan_usage(tail)
    if found is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(usage, "scan_usage", lambda tail: None)
            assert usage.read_usage(tail) == usage.Usage(*found)


@needs_c
def test_c_reads_the_usage_that_engines_write():
    engine = b'"usage":{"prompt_tokens":9,"total_tokens":12,"completion_tokens":3,'
    assert _inner.scan_usage(engine + b'"prompt_tokens_details":null,"reasoning_tokens":0}}') == (
        9, 3, None, False,
    )  # fmt: skip
    tail = engine + b'"prompt_tokens_details":{"cached_tokens":4}},"usage":null}'
    assert _inner.scan_usage(tail) == (9, 3, 4, False)


def test_the_switch_leaves_the_c_aside():
    code = "from sglrouter import inner; print(inner.BUILT, inner.Table.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"SGLROUTER_PURE": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "sglrouter.inner.table"]
