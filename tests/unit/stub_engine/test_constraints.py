"""What the stub generates under a constraint satisfies it, or the request is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglocal.stub_engine import tokens
from sglocal.stub_engine.constraints import constrained_text
from sglocal.stub_engine.prefix_cache import BLOCK_TOKENS, PrefixCache
from sglocal.stub_engine.regex_text import UnsupportedError, matching_text

REGEXES = [
    r"[0-9]{3}-[ab]", r"20[0-9]{2}-[01][0-9]-[0-3][0-9]", r"yes|no|maybe", r"(a|b)+c?",
    r"^\d+\.\d{2}$", r"[^a-z]{4}", r"\w+@\w+\.(com|org)", r"[A-Z][a-z]*", r"(?:ab){2,3}x{0}",
    r"[\d\-]{2,}", r"", r"a\$", r".{5}",
]  # fmt: skip


@pytest.mark.parametrize("pattern", REGEXES)
@given(seed=st.integers(0, 2**31))
def test_a_text_matches_its_regex(pattern: str, seed: int) -> None:
    """For any seed the whole text matches."""
    assert re.fullmatch(pattern, matching_text(pattern, seed))


@pytest.mark.parametrize(
    "pattern", ["[", "(?=a)b", r"(a)\1", r"\bword", "(?P<x>a)", "a{99999}", "(a{90}){90}", "*"]
)
def test_a_regex_beyond_the_stub_is_refused(pattern: str) -> None:
    """Invalid, not understood, or too long: an error, never a text that lies."""
    with pytest.raises(UnsupportedError):
        matching_text(pattern, 1)


WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "sunny": {"type": "boolean"},
        "degrees": {"type": "integer", "minimum": 0, "maximum": 40},
    },
    "required": ["city", "sunny", "degrees"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, tuple[Any, Any]] = {
    "object": (WEATHER, lambda v: set(v) == set(WEATHER["properties"]) and len(v["city"]) <= 12
               and isinstance(v["sunny"], bool) and 0 <= v["degrees"] <= 40),
    "array": ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 3},
              lambda v: len(v) == 3 and set(v) <= {"a", "b"}),
    "number": ({"type": "number", "exclusiveMinimum": 2, "maximum": 2.5}, lambda v: 2 < v <= 2.5),
    "integer": ({"type": "integer", "minimum": 7, "exclusiveMaximum": 8}, lambda v: v == 7),
    "string": ({"type": "string", "minLength": 30, "maxLength": 31}, lambda v: 30 <= len(v) <= 31),
    "pattern": ({"type": "string", "pattern": "[A-Z]{2}"}, lambda v: re.fullmatch("[A-Z]{2}", v)),
    "reference": ({"$defs": {"n": {"type": "null"}}, "type": "object", "required": ["x"],
                   "properties": {"x": {"$ref": "#/$defs/n"}}}, lambda v: v == {"x": None}),
    "any of": ({"anyOf": [{"const": 5}, {"type": "string"}]}, lambda v: v == 5),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("seed", range(5))
def test_an_instance_fits_its_schema(name: str, seed: int) -> None:
    """Both ways to ask, OpenAI's and SGLang's, give a value that fits."""
    schema, fits = SCHEMAS[name]
    openai = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    for body in (openai, {"json_schema": json.dumps(schema)}):
        text = constrained_text(body, seed)
        assert text is not None
        assert fits(json.loads(text)), text


@pytest.mark.parametrize(
    "body",
    [{"json_schema": "{"}, {"json_schema": {"type": "string", "format": "date"}},
     {"json_schema": {"type": "integer", "multipleOf": 7}}, {"ebnf": "root ::= 'a'"},
     {"json_schema": {"allOf": [{"type": "object"}]}}, {"response_format": {"type": "x"}},
     {"json_schema": {"type": "integer", "minimum": 5, "maximum": 4}},
     {"json_schema": {"$ref": "#"}}, {"json_schema": {"enum": []}}],
)  # fmt: skip
def test_a_constraint_beyond_the_stub_is_refused(body: dict[str, Any]) -> None:
    """A keyword that constrains is followed or refused, never ignored."""
    with pytest.raises(UnsupportedError):
        constrained_text(body, 1)


def test_no_constraint_is_no_text() -> None:
    """Then words are generated."""
    assert constrained_text({"response_format": {"type": "text"}}, 1) is None


@given(st.text(max_size=200))
def test_pieces_joined_are_the_text(text: str) -> None:
    """Tokens lose nothing."""
    assert "".join(tokens.split(text)) == text


@given(st.lists(st.integers(0, 9), max_size=60), st.lists(st.integers(0, 9), max_size=60))
def test_a_cached_prefix_is_a_real_one(first: list[int], second: list[int]) -> None:
    """Cached tokens never exceed the true common prefix, and lack less than a block of it."""
    cache = PrefixCache(10_000)
    cache.insert(first)
    common = 0
    while common < min(len(first), len(second)) and first[common] == second[common]:
        common += 1
    hit = cache.match(second)
    assert hit <= min(common, max(0, len(second) - 1))
    assert hit > min(common, len(second) - 1) - BLOCK_TOKENS


def test_the_least_recently_used_prefix_goes_first() -> None:
    """Capacity in tokens holds; a prefix that is used stays, tails go before heads."""
    cache = PrefixCache(4 * BLOCK_TOKENS)
    prompts = [[n] * (2 * BLOCK_TOKENS + 1) for n in range(3)]
    cache.insert(prompts[0])
    cache.insert(prompts[1])
    assert cache.match(prompts[0]) == 2 * BLOCK_TOKENS
    cache.insert(prompts[2])
    assert cache.tokens == 4 * BLOCK_TOKENS
    assert [cache.match(p) for p in prompts] == [2 * BLOCK_TOKENS, 0, 2 * BLOCK_TOKENS]
