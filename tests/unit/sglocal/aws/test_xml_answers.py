"""Our XML is xmltodict's, character for character."""

from __future__ import annotations

from typing import Any

import xmltodict
from hypothesis import given
from hypothesis import strategies as st

from sglocal.aws.xml_answers import unparse

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,6}", fullmatch=True)
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=8)
LEAVES = st.one_of(TEXTS, st.integers(), st.booleans(), st.none())


def structures(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An element's content: attributes, members, lists of members."""
    members = st.dictionaries(NAMES, st.one_of(inner, st.lists(inner, max_size=3)), max_size=4)
    attributes = st.dictionaries(NAMES.map("@".__add__), TEXTS, max_size=2)
    return st.builds(lambda a, m: {**a, **m}, attributes, members)


@given(NAMES, st.recursive(LEAVES, structures, max_leaves=12))
def test_a_document_is_what_xmltodict_makes_of_it(name: str, content: Any) -> None:
    document = {name: content}
    assert unparse(document) == xmltodict.unparse(
        document, full_document=False, short_empty_elements=True
    )


def test_text_beside_attributes_is_kept() -> None:
    document = {"a": {"@xmlns": "urn:x", "#text": "1 < 2"}}
    assert unparse(document) == xmltodict.unparse(
        document, full_document=False, short_empty_elements=True
    )
