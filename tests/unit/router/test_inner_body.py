"""What the C reads of a body is what orjson and the policies' own reading make of it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sglrouter.inner import blocks
from sglrouter.policy.prompt import of_found, read_prompt
from sglrouter.wire.body import BadBodyError, read_body
from sglrouter.wire.head import read_head

if importlib.util.find_spec("sglrouter.inner._body") is not None:
    from sglrouter.inner import _body
else:
    pytest.skip("sglrouter.inner._body was not built: no compiler", allow_module_level=True)

LONG = "All work and no play makes\tJack a “dull” boy.\n" * 40
USER = {"role": "user", "content": LONG}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":"\\n"}'}}


def write_in_ascii(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def write_with_spaces(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


def write_with_slashes(document: Any) -> bytes:
    """As PHP does."""
    return write_in_ascii(document).replace(b"/", b"\\/")


def write_in_lines(document: Any) -> bytes:
    return b" " + json.dumps(document, indent=1).encode() + b"\r\n\t"


WRITERS: list[Callable[[Any], bytes]] = [
    write_in_ascii, write_with_spaces, write_with_slashes, write_in_lines,
]  # fmt: skip


def check(body: bytes) -> bool:
    """Whether the C takes `body`; what it found then must be right."""
    found = _body.read_body(body)
    if found is None:
        return False
    document = orjson.loads(body)
    assert isinstance(document, dict)
    assert found[0] == document.get("model")
    fast, slow = of_found(*found), read_prompt(document, body)
    assert (list(fast.blocks), fast.tokens) == (list(slow.blocks), slow.tokens)
    assert fast.conversation == slow.conversation
    return True


TAKEN = {
    "chat": {"model": "m", "messages": [USER], "temperature": 0.7, "max_tokens": 20},
    "no model": {"messages": [USER]},
    "null model": {"model": None, "messages": [USER]},
    "turns": {"messages": [{"role": "system", "content": LONG}, USER, USER]},
    "nobody's turn": {"messages": [{"role": "assistant", "content": None}, "odd", 3]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": LONG}]}]},
    "tools": {"messages": [USER], "tools": [TOOL], "instructions": "Be brief."},
    "calls": {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
    "nothing before": {"tools": [], "functions": None, "system": "", "messages": [USER]},
    "system": {"messages": [USER], "system": LONG},
    "other sources": {"messages": [USER], "prompt": "x", "input": 3},
    "settings": {"messages": [USER], "x": {"a": [1, -2.5, True, None, {"b": "\u2028"}]}},
    "completion": {"model": "é", "prompt": LONG},
    "generate": {"text": LONG, "sampling_params": {"temperature": 0}},
    "both": {"prompt": "", "text": LONG},
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", TAKEN)
def test_usual_bodies_are_taken_however_they_are_written(name: str, write: Any):
    assert check(write(TAKEN[name]))


IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}
MARKED = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}
LEFT = [
    b"", b"{", b"{}", b"[]", b"nul", b'{"messages":[{}]', b'{"messages":[{}]}x', b'{"prompt":"a"',
    b'{"prompt":"a",}', b'{"prompt":"\x1f"}', b'{"prompt":"\\x"}', b'{"prompt":"\\ud800"}',
    b'{"prompt":"\\udc00\\ud800"}', b'{"prompt":"\xed\xa0\x80"}', b'{"prompt":"\xc0\x80"}',
    b'{"prompt":"\xf4\x90\x80\x80"}', b'{"prompt":"\xe2\x82"}', b'{"prompt":"a","n":01}',
    b'{"prompt":"a","n":1.}', b'{"prompt":"a","n":-}', b'{"prompt":"a","n":NaN}',
    b'{"prompt":"a","prompt":"b"}', b'{"model":3,"prompt":"a"}', b'{"prompt":"a" "b":1}',
    *(b'{"messages":[{"content":"\\%c"}]}' % (ord(c) | 0x80) for c in '"\\bfnrt'),
    b'\xef\xbb\xbf{"prompt":"a"}', b'{"prompt":"a","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
]  # fmt: skip
LEFT += [
    write_in_ascii(document)
    for document in (
        {"messages": [{"role": "user", "content": [IMAGE]}]},
        {"messages": [{"role": "user", "content": [MARKED]}]},
        {"messages": [USER], "system": [MARKED]},
        {"messages": [USER, {"x": 0.5}]},
        {"messages": [USER, {"x": 1 << 64}]},
        {"messages": [USER, {str(n): n for n in range(33)}]},
        {"messages": [], "prompt": "a"},
        {"messages": ["a"]},
        {"messages": None, "input": [USER]},
        {"messages": [USER], "lora_path": "a"},
        {"prompt": ["a"]},
        {"text": "a", "image_data": "b"},
        {"input_ids": [1], "text": "a"},
    )
]


@pytest.mark.parametrize("body", LEFT)
def test_what_python_alone_understands_or_refuses_is_left_to_it(body: bytes):
    assert not check(body)


ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), ANY_TEXT,
    st.sampled_from(["text", "image", "function", "user", "-0", LONG]),
)  # fmt: skip
KEY = st.one_of(
    ANY_TEXT, st.sampled_from(["role", "content", "type", "cache_control", "text", "tool_calls"])
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(KEY, inner, max_size=4)
    ),
    max_leaves=8,
)  # fmt: skip
MESSAGE = st.one_of(
    st.builds(
        lambda role, content, more: {"role": role, "content": content, **more},
        st.sampled_from(["user", "assistant", "system", 1]),
        st.one_of(ANY_TEXT, st.just(LONG), VALUE),
        st.dictionaries(KEY, VALUE, max_size=2),
    ),
    VALUE,
)
FIELDS = [
    "tools", "functions", "system", "instructions", "prompt", "text", "input", "input_ids",
    "image_data", "lora_path", "cache_salt", "extra_key", "temperature", "stream",
]  # fmt: skip
DOCUMENT = st.builds(
    lambda start, more: {**start, **more},
    st.one_of(
        st.fixed_dictionaries({}, optional={"model": SCALAR, "messages": st.lists(MESSAGE)}),
        st.builds(lambda text: {"prompt": text}, ANY_TEXT),
    ),
    st.dictionaries(st.one_of(st.sampled_from(FIELDS), ANY_TEXT), VALUE, max_size=4),
)


@given(document=DOCUMENT, write=st.sampled_from(WRITERS))
@example(document={"messages": [{"role": "user", "content": -0.0}]}, write=write_in_ascii)
def test_any_body_that_is_taken_is_read_as_python_reads_it(document: Any, write: Any):
    check(write(document))


@given(
    document=st.one_of(DOCUMENT, st.sampled_from(list(TAKEN.values()))),
    write=st.sampled_from(WRITERS),
    at=st.integers(0, 4000),
    taken=st.integers(0, 3),
    put=st.one_of(
        st.binary(max_size=3),
        st.sampled_from(
            [b'"', b"\\", b"\\u00e9", b"\\ud83d\\ude00", b",", b"-0", b'"a":1,', b"]}"]
        ),
    ),
)
def test_a_body_with_a_fault_is_never_taken_for_a_whole_one(document, write, at, taken, put):
    body = write(document)
    at %= len(body) + 1
    check(body[:at] + put + body[at + taken :])


def numbers(hashes: blocks.Hashes) -> list[int]:
    return list(memoryview(hashes).cast("Q") if isinstance(hashes, bytes) else hashes)


@given(data=st.binary(max_size=3000), start=st.integers(-1, 3000), size=st.integers(-1, 4000))
def test_both_chains_of_hashes_are_the_same(data: bytes, start: int, size: int):
    seed = size * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    outcomes = []
    for chain in (blocks.hash_blocks, _body.hash_blocks):
        try:
            outcomes.append(numbers(chain(data, start, size, seed)))
        except ValueError:
            outcomes.append("refused")
    assert outcomes[0] == outcomes[1]


def test_the_chains_are_the_same_at_every_size_of_block():
    data = bytes(n * n >> 3 & 0xFF for n in range(1 << 16)) * 260
    expected = blocks.hash_blocks(data, 3, len(data) - 3, 7)
    assert len(expected) > 16 * 8
    assert numbers(_body.hash_blocks(data, 3, len(data) - 3, 7)) == expected


HEAD = read_head(
    b"POST", b"/v1/chat/completions", [(b"host", b"x"), (b"content-type", b"application/json")],
    False,
)  # fmt: skip


def test_a_view_gives_the_document_when_it_is_asked_for():
    body = write_in_ascii(TAKEN["tools"])
    view = read_body(HEAD, body)
    assert (view.is_json, view.model) == (True, None)
    assert view.document == TAKEN["tools"]
    assert view.prompt is view.prompt


def test_a_body_the_c_leaves_is_refused_as_ever():
    with pytest.raises(BadBodyError, match="JSON"):
        read_body(HEAD, b'{"prompt":"a","n":01}')
