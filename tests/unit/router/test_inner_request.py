"""What runs per request in C and its twin in Python do the same."""

from __future__ import annotations

import gc
import importlib.util
import json
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.inner import ending, form, work
from sglrouter.telemetry import metrics as telemetry
from sglrouter.telemetry.families import render
from sglrouter.telemetry.metrics import Metrics

BUILT = importlib.util.find_spec("sglrouter.inner._request") is not None
if BUILT:
    from sglrouter.inner import _request
needs_c = pytest.mark.skipif(not BUILT, reason="sglrouter.inner._request was not built")


def test_all_of_the_c_is_built_or_none():
    """A part that is missing would leave the rest aside."""
    parts = ("_body", "_inner", "_request")
    found = {importlib.util.find_spec(f"sglrouter.inner.{part}") is not None for part in parts}
    assert len(found) == 1, "run cli/bootstrap.sh again"


count = st.integers(0, 2**62) | st.integers(2**62, 2**70)
seconds = st.floats(0, 1e6)
used = st.none() | st.tuples(count, count, st.none() | count, st.booleans())
line_arguments = st.tuples(
    st.floats(1e9, 4e9),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128),
    st.integers(100, 599),
    *[count] * 2,
    st.integers(0, 9),
    *[seconds] * 4,
    used,
)


def line_of(write: Any, drawn: tuple[Any, ...], more: bytes = b"") -> bytes:
    wall, name, status, came, went, attempts, waited, began, first, now, tokens = drawn
    who, where = b'"client":"1.2.3.4","key":"a"', b'"fleet":"chat","outcome":"complete"'
    line = write(
        wall, name.encode(), who, status, came, went, where, attempts,
        waited, began, first, now, tokens, more,
    )  # fmt: skip
    assert isinstance(line, bytes)
    return line


@needs_c
@given(
    line_arguments, st.sampled_from([b"", b',"queue_position":3', b',"x":"' + b"y" * 5000 + b'"'])
)
def test_a_line_of_the_log_is_the_same(drawn: tuple[Any, ...], more: bytes):
    assert line_of(_request.request_line, drawn, more) == line_of(ending.request_line, drawn, more)


@given(line_arguments)
def test_a_line_says_what_was_counted(drawn: tuple[Any, ...]):
    told = json.loads(line_of(ending.request_line, drawn))
    _, name, status, came, went, attempts, _, began, first, now, tokens = drawn
    wanted = (name, status, came, went, attempts)
    assert (*(told[k] for k in ("id", "status", "bytes_in", "bytes_out", "attempts")),) == wanted
    assert (told["first_byte_ms"] is None) == (first == 0)
    assert told["duration_ms"] == pytest.approx(1000 * (now - began), abs=0.006)
    names = ("prompt_tokens", "completion_tokens", "cached_tokens", "tokens_estimated")
    assert tokens == (tuple(told[name] for name in names) if tokens else None)


@needs_c
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.one_of(seconds, st.sampled_from(telemetry.REQUEST_BUCKETS)),
            st.none() | seconds | st.sampled_from(telemetry.FIRST_BYTE_BUCKETS),
            used,
            count,
        )
    )
)
def test_a_tally_counts_the_same(events: list[tuple[str, float, float | None, Any, int]]):
    texts = []
    for make in (ending.Tally, _request.Tally):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(telemetry, "Tally", make)
            metrics = Metrics()
            for key, whole, first, tokens, expected in events:
                tally = metrics.tally("/v1/completions", "chat", "chat", 200, key)
                tally.add(whole, first, tokens, expected)
            texts.append(render(metrics.families()))
    assert texts[0] == texts[1]


@needs_c
@pytest.mark.parametrize("arguments", [(), (1.0,), (1.0, 2.0, 3, 4), ("x", None, None, 0)])
def test_what_is_no_count_is_refused(arguments: tuple[Any, ...]):
    tally: Any = Metrics().tally("/v1/completions", "chat", "chat", 200, "a")
    with pytest.raises((TypeError, SystemError)):
        _request.Tally.add(tally, *arguments)


@needs_c
def test_a_tally_that_was_not_made_counts_nothing():
    empty = _request.Tally.__new__(_request.Tally)
    with pytest.raises(TypeError):
        empty.add(1.0, None, None, 0)
    with pytest.raises(TypeError):
        _request.request_line(*[None] * 14)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _request.request_line(1.0)  # type: ignore[call-arg]


def test_labels_that_never_end_do_not_keep_tallies_for_ever(monkeypatch: pytest.MonkeyPatch):
    """Their numbers stay."""
    monkeypatch.setattr(telemetry, "_MAX_TALLIES", 3)
    metrics = Metrics()
    for n in range(20):
        metrics.tally("/v1/completions", "chat", "chat", 200, f"key {n}").add(1.0, None, None, 0)
    assert len(metrics.tallies) <= 3
    assert metrics.requests[("/v1/completions", "chat", "chat", 200)] == 20


# forms

letters = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7F), max_size=6)
names = st.lists(st.sampled_from(["content-length", "date", "x-a"]), max_size=3, unique=True)
value = st.one_of(
    st.sampled_from(
        ["0", "7", "123456789012345", "1234567890123456", " 7", "7 ", "x" * 256, "x" * 257, ""]
    ),
    st.text("x" * 3 + " 0\r\n\t\x7fé", max_size=8),
    st.integers(0, 10**9).map(str),
)


def made_of(drawn: tuple[list[str], list[int], str], make: Any) -> Any:
    """A form with a line for each name; `order`: which values are passed on."""
    named, order, first = drawn
    texts = [f"GET {first} HTTP/1.1", *[""] * len(named)]
    for n, name in enumerate(named):
        texts[n] += f"\r\n{name}: "
    texts[-1] += "\r\n\r\n"
    places = [n % len(named) for n in order] if named else []
    pieces = [f"p{n}: " for n in range(len(places) + 1)]
    at = named.index("content-length") if "content-length" in named else -1
    as_bytes = [tuple(text.encode() for text in side) for side in (texts, pieces)]
    return make(*as_bytes, tuple(places), at)


@needs_c
@given(
    st.tuples(names, st.lists(st.integers(0, 5), max_size=5), letters),
    st.lists(value, min_size=3, max_size=3),
    st.integers(-8, 3),
)
def test_a_head_is_recognised_and_filled_in_alike(
    drawn: tuple[list[str], list[int], str], values: list[str], cut: int
):
    """Whole, cut short, or with something behind it."""
    named, _, first = drawn
    lines = "".join(f"\r\n{name}: {given}" for name, given in zip(named, values, strict=False))
    data = f"GET {first} HTTP/1.1{lines}\r\n\r\n".encode("latin-1", "replace") + b"{}{"
    data = data[: len(data) - 3 + cut]
    native, twin = (made_of(drawn, make) for make in (_request.Form, form.Form))
    assert native.read(data) == twin.read(data)


@needs_c
@pytest.mark.parametrize(
    ("given", "known"),
    [
        (b"x", True),
        (b"b c", True),
        (b"x" * 256, True),
        (b"x" * 257, False),
        (b"", False),
        (b" x", False),
        (b"x ", False),
        (b"x\t", False),
        (b"x\x7f", False),
        (b"x\xe9", False),
        (b"x\ny", False),
    ],
)
def test_a_value_is_printable_and_of_bounded_length(given: bytes, known: bool):
    for make in (_request.Form, form.Form):
        found = made_of((["date"], [0], "/"), make).read(
            b"GET / HTTP/1.1\r\ndate: " + given + b"\r\n\r\n"
        )
        assert (found is not None) == known


@needs_c
@pytest.mark.parametrize(
    ("given", "length"),
    [(b"0", 0), (b"007", 7), (b"9" * 15, 10**15 - 1), (b"9" * 16, None), (b"1x", None)],
)
def test_a_length_has_digits_only(given: bytes, length: int | None):
    for make in (_request.Form, form.Form):
        found = made_of((["content-length"], [], "/"), make).read(
            b"GET / HTTP/1.1\r\ncontent-length: " + given + b"\r\n\r\n"
        )
        assert (None if found is None else found[1]) == length


@needs_c
def test_a_form_tells_end_length_what_is_passed_on_and_the_values():
    for make in (_request.Form, form.Form):
        made = made_of((["content-length", "x-a"], [1, 1], "/"), make)
        data = b"GET / HTTP/1.1\r\ncontent-length: 12\r\nx-a: b c\r\n\r\n"
        passed, values = b"p0: b cp1: b cp2: ", [b"12", b"b c"]
        assert made.read(data + b"rest") == (len(data), 12, passed, values)


@needs_c
@pytest.mark.parametrize(
    "arguments",
    [
        ((), (b"",), (), -1),
        ((b"",), (), (), -1),
        ((b"", b"\r\n"), (b"",), (), 1),
        ((b"", b"\r\n"), (b"",), (), -2),
        ((b"", b"\r\n"), (b"", b""), (1,), -1),
        ((b"", b"\r\n"), (b"", b""), (-1,), -1),
        ((b"", b"x"), (b"",), (), -1),
        ((b"", *[b"\r\n"] * 17), (b"",), (), -1),
    ],
)
def test_a_form_that_cannot_be_is_refused(arguments: tuple[Any, ...]):
    for make in (_request.Form, form.Form):
        with pytest.raises(ValueError, match=r"value"):
            make(*arguments)


# work

a_worker = st.tuples(
    st.integers(0, 5), st.integers(0, 5), st.integers(0, 400), st.integers(0, 3), st.integers(1, 6)
)


def worker_of(make: Any, drawn: tuple[int, ...]) -> Any:
    worker = make()
    worker.in_flight, worker.others, worker.backlog, worker.last_chosen, worker.slot = drawn
    return worker


@needs_c
@given(
    st.lists(a_worker, min_size=1, max_size=8),
    st.dictionaries(st.integers(1, 6), st.floats(0, 100), max_size=6),
    st.sampled_from([list, tuple]),
)
def test_the_least_work_is_found_alike(
    drawn: list[tuple[int, ...]], burdens: dict[int, float], sequence: type
):
    """Also among workers that are not made in C."""
    places = []
    for make, find in (
        (work.Work, work.least_work),
        (work.Work, _request.least_work),
        (_request.Work, _request.least_work),
        (_request.Work, work.least_work),
    ):
        workers = sequence([worker_of(make, one) for one in drawn])
        found, least = find(workers, burdens, 60)
        places.append((next(n for n, one in enumerate(workers) if one is found), least))
    assert len(set(places)) == 1


@needs_c
@pytest.mark.parametrize("backlog", [2**63 - 1, 2**63, -(2**63) - 1, 2.5, True, 10**300])
def test_any_number_is_compared(backlog: float):
    workers = [worker_of(_request.Work, (0, 0, 2**53, 0, 1)) for _ in range(2)]
    workers[1].backlog = backlog
    found, least = _request.least_work(workers, {}, 60)
    assert (found, least) == work.least_work(workers, {}, 60)
    assert isinstance(least, float)


@needs_c
def test_workers_without_numbers_are_refused():
    for workers in ([], [object()], [_request.Work()], [work.Work()], 3):
        with pytest.raises((AttributeError, IndexError, TypeError)):
            _request.least_work(workers, {}, 60)  # type: ignore[type-var,arg-type]
    with pytest.raises(AttributeError):
        _ = _request.Work().load
    strange = worker_of(_request.Work, (0, 0, 0, 0, 1))
    strange.backlog = "much"
    with pytest.raises(TypeError):
        _request.least_work([strange], {}, 60)


@needs_c
def test_a_worker_that_refers_to_itself_is_collected():
    class Kept(_request.Work):
        __slots__ = ("__weakref__",)

    one = Kept()
    one.backlog = one  # type: ignore[assignment]
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None
