"""What of a request counts as its prefix."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.policy.prompt import BLOCK_ENDS, read_prompt
from sglrouter.wire.body import RequestView, read_body
from sglrouter.wire.head import read_head

LONG = "All work and no play makes Jack a dull boy. " * 60
TOOL = {"type": "function", "function": {"name": "search", "description": LONG}}
IDS = list(range(700))
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}


def prompt(document):
    return read_prompt(document, json.dumps(document).encode())


def user(content):
    return {"role": "user", "content": content}


def text(value):
    return [{"type": "text", "text": value}]


SHAPES = {
    "chat": {"messages": [user(LONG)]},
    "chat in parts": {"messages": [user(text(LONG))]},
    "completion": {"prompt": LONG},
    "completion batch": {"prompt": [LONG, "short"]},
    "completion of ids": {"prompt": IDS},
    "completion batch of ids": {"prompt": [IDS, IDS]},
    "generate": {"text": LONG},
    "generate batch": {"text": [LONG]},
    "generate of ids": {"input_ids": IDS},
    "generate batch of ids": {"input_ids": [IDS]},
    "response": {"input": LONG, "instructions": "Be brief."},
    "response items": {"input": [{"type": "message", **user(text(LONG))}]},
    "embedding": {"input": [LONG, LONG]},
    "anthropic": {"system": LONG, "messages": [user("Hi")]},
    "anthropic parts": {"system": text(LONG), "messages": [user("Hi")]},
    "tools alone": {"tools": [TOOL], "messages": [user("Hi")]},
    "surrogates": {"messages": [user(LONG + "\ud800")]},
    "not a number": {"messages": [user(LONG)], "temperature": math.nan},
    "beyond 64 bits": {"messages": [user(LONG), {"n": 1 << 80}]},
    "negative ids": {"input_ids": [-1] * 700},
    "wrong ids": {"input_ids": [1.5] * 700},
    "no messages at all": {"messages": [], "prompt": LONG},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_request_has_blocks(shape):
    found = prompt(SHAPES[shape])
    assert len(found.blocks) >= 4
    assert all(0 <= block < 1 << 64 for block in found.blocks)
    assert found.tokens >= 600


BEFORE = [user(LONG), {"role": "assistant", "content": "Yes."}, user("Why?")]
# Each changes the prompt's beginning: not one block may be shared.
DIFFERENT = [
    ({"messages": BEFORE}, {"messages": [user("!" + LONG)]}),
    ({"messages": BEFORE}, {"messages": [{**user(LONG), "role": "system"}]}),
    ({"messages": BEFORE}, {"messages": BEFORE, "tools": [TOOL]}),
    ({"messages": BEFORE}, {"messages": BEFORE, "model": "other"}),
    ({"messages": BEFORE}, {"messages": BEFORE, "lora_path": "adapter"}),
    ({"messages": BEFORE}, {"messages": BEFORE, "cache_salt": "tenant"}),
    ({"messages": BEFORE, "extra_key": "a"}, {"messages": BEFORE, "extra_key": "b"}),
    ({"messages": BEFORE, "system": "a"}, {"messages": BEFORE, "system": "b"}),
    ({"input": LONG, "instructions": "a"}, {"input": LONG, "instructions": "b"}),
    ({"text": LONG, "image_data": ["a"]}, {"text": LONG, "image_data": ["b"]}),
    ({"prompt": LONG, "model": "a"}, {"prompt": LONG, "model": "b"}),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_changes_the_beginning_changes_every_block(one, other):
    if "input" in one:  # a bare input's instructions are a response's
        one, other = ({**d, "input": [user(d["input"])]} for d in (one, other))
    assert set(prompt(one).blocks).isdisjoint(prompt(other).blocks)
    assert prompt(one).conversation != prompt(other).conversation


# Each leaves what an engine would have cached as it was.
SAME = [
    ({"messages": BEFORE}, {"messages": BEFORE, "temperature": 1, "stream": True}),
    ({"messages": BEFORE}, {"stream": True, "messages": BEFORE}),
    ({"prompt": LONG}, {"prompt": [LONG, "more"]}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_is_no_part_of_the_prompt_changes_nothing(one, other):
    assert prompt(one).blocks == prompt(other).blocks
    assert prompt(one).conversation == prompt(other).conversation


CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "arguments": "{}"}]}
LATER = [
    ({"role": "assistant", "content": LONG}, user("And then?")),
    (CALL, {"role": "tool", "tool_call_id": "1", "content": LONG}),
    (user(text(LONG)), user([IMAGE, *text("What is this?")])),
]


@pytest.mark.parametrize("fields", [{}, {"tools": [TOOL]}, {"system": LONG}])
@pytest.mark.parametrize("added", LATER)
def test_a_later_turn_extends_the_blocks_and_keeps_the_conversation(added, fields):
    turns = [BEFORE, BEFORE + list(added[:1]), BEFORE + list(added)]
    prompts = [prompt({"messages": messages, **fields}) for messages in turns]
    for earlier, later in itertools.pairwise(prompts):
        assert later.blocks[: len(earlier.blocks)] == earlier.blocks
        assert later.tokens > earlier.tokens
    assert len({found.conversation for found in prompts}) == 1


message = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant", "system"]),
    st.one_of(st.text(max_size=3000), st.lists(st.builds(lambda t: text(t)[0], st.text()))),
)


@given(st.lists(message, min_size=1, max_size=8), st.lists(message, max_size=4))
def test_any_prompt_is_a_beginning_of_the_longer_one(start, more):
    earlier = prompt({"messages": start}).blocks
    assert prompt({"messages": start + more}).blocks[: len(earlier)] == earlier


@given(st.binary(max_size=70_000), st.integers(0, 70_000))
def test_bare_prompts_share_the_blocks_of_their_common_beginning(data, length):
    whole = data.decode("latin-1")
    part = whole[:length]
    blocks = list(prompt({"prompt": part}).blocks)
    assert list(prompt({"prompt": whole}).blocks)[: len(blocks)] == blocks


def marked(content):
    return [{"type": "text", "text": content, "cache_control": {"type": "ephemeral"}}]


def test_a_cache_mark_that_moves_on_changes_nothing():
    """Anthropic's clients set it on the newest message, and take it off the one before."""
    earlier = prompt({"messages": [user(marked(LONG))]})
    later = prompt({"messages": [user(text(LONG)), user(marked("And then?"))]})
    assert later.blocks[: len(earlier.blocks)] == earlier.blocks
    assert later.conversation == earlier.conversation


def test_images_count_by_their_content_and_cost_like_images():
    one = prompt({"messages": [user([IMAGE])]})
    same = prompt({"messages": [user([json.loads(json.dumps(IMAGE))])]})
    other = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "B" * 9000}}
    assert one.blocks == same.blocks
    assert set(one.blocks).isdisjoint(prompt({"messages": [user([other])]}).blocks[1:])
    assert 512 <= one.tokens < 600  # not the 2,250 of its base64 text


def test_the_conversation_is_told_apart_by_the_first_user_message():
    system = {"role": "system", "content": LONG}
    first, second = (prompt({"messages": [system, user(name)]}) for name in "ab")
    assert first.blocks[:4] == second.blocks[:4]
    assert first.conversation != second.conversation


def test_ids_count_one_token_each():
    assert prompt({"input_ids": IDS}).tokens == len(IDS)


OPAQUE = [
    (None, b"\x89PNG" * 1000, 0),
    ({"query": "x", "documents": ["y"]}, b"z" * 400, 100),
    ({"messages": "none"}, b"z" * 400, 100),
    ({}, b"{}", 0),
]


@pytest.mark.parametrize(("document", "body", "tokens"), OPAQUE)
def test_what_has_no_prompt_has_no_blocks(document, body, tokens):
    found = read_prompt(document, body)
    assert (list(found.blocks), found.tokens) == ([], tokens)


def test_a_deep_document_is_no_error():
    body = b'{"messages":[{"role":"user","content":' + b"[" * 900 + b"]" * 900 + b"}]}"
    headers = [(b"host", b"x"), (b"content-type", b"application/json")]
    view = read_body(read_head(b"POST", b"/v1/chat/completions", headers, False), body)
    assert view.prompt.tokens > 0
    assert view.prompt.conversation >= 0


def test_blocks_grow_with_depth():
    sizes = [end - start for start, end in zip((0, *BLOCK_ENDS), BLOCK_ENDS, strict=False)]
    assert sizes == sorted(sizes)
    assert sum(end <= 2048 for end in BLOCK_ENDS) == 4
    assert sum(end <= 64 * 1024 for end in BLOCK_ENDS) == 50
    assert BLOCK_ENDS[-1] >= 64 * 1024 * 1024


def test_a_request_reads_its_prompt_once():
    view = RequestView(b"/", b"{}", {"prompt": LONG}, None)
    assert view.prompt is view.prompt


def test_another_process_computes_the_same_hashes():
    """Routers agree on owners and processes share a table: Python's own hash will not do."""
    program = (
        "import json, sys; from sglrouter.policy.prompt import read_prompt\n"
        "p = read_prompt(json.load(sys.stdin), b''); print(json.dumps([*p.blocks, p.conversation]))"
    )
    document = {"messages": BEFORE, "tools": [TOOL], "cache_salt": "a", "extra_key": "b"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(document),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    here = prompt(document)
    assert json.loads(done.stdout) == [*here.blocks, here.conversation]


def test_the_policies_load_without_the_event_loop_and_without_aws():
    program = (
        "import sys, sglrouter.policy\n"
        "print([m for m in ('uvloop', 'boto3', 'httptools') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
