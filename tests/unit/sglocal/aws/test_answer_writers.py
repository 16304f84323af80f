"""Compiled answers are moto's, byte for byte; what is not compiled is moto's to answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from xml_outputs import Fleet, Thing, by_moto, by_writers, outputs, serializer

from sglocal.aws.answers import WrittenAnswers

Output = tuple[str, dict[str, Any], str, Any]
TEXT = {"type": "string"}


@given(outputs())
def test_an_answer_is_the_one_that_moto_writes(
    output: tuple[str, dict[str, Any], str, Any],
) -> None:
    protocol, shapes, name, value = output
    answers = WrittenAnswers()
    assert by_writers(answers, serializer(protocol, shapes, name), value) == by_moto(
        serializer(protocol, shapes, name), value
    )
    assert answers.left_to_moto == {}


def structure(**members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "structure", "members": members}


# What is asked for, by whom it is answered, what it finds.
ALIASES = {
    "the name itself": ("Label", {"Label": "x"}),
    "in Python's way": ("DNSName", {"dns_name": "x"}),
    "without the shape's name": ("OutId", Thing({"id": "x"})),
    "without the class's name": ("ThingId", Thing({"id": "x"})),
    "as the class says, through another object": ("Id", Fleet({"inner": Thing({"id": "x"})})),
}


@pytest.mark.parametrize("why", ALIASES)
def test_a_value_is_found_where_moto_finds_it(why: str) -> None:
    key, value = ALIASES[why]
    shapes = {"Text": TEXT, "Out": structure(**{key: {"shape": "Text"}})}
    answered = by_writers(WrittenAnswers(), serializer("ec2", shapes, "Out"), value)
    assert answered == by_moto(serializer("ec2", shapes, "Out"), value)
    assert f"<{key}>x</{key}>" in answered["body"]


NOT_WRITTEN = {
    "Out is a map": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Text"}},
    "Out holds itself": structure(Name={"shape": "Text"}, Out={"shape": "Out"}),
    "Out has two members of one name": structure(
        Name={"shape": "Text"}, Label={"shape": "Text", "locationName": "Name"}
    ),
    "Text has xmlAttribute": structure(Name={"shape": "Text", "xmlAttribute": True}),
    "Lines holds flattened lists": {"type": "list", "member": {"shape": "Flat"}},
}


@pytest.mark.parametrize(("why", "shape"), NOT_WRITTEN.items(), ids=list(NOT_WRITTEN))
def test_an_output_that_is_not_known_is_left_to_moto_with_a_reason(
    why: str, shape: dict[str, Any]
) -> None:
    flat = {"type": "list", "member": {"shape": "Text"}, "flattened": True}
    shapes = {"Text": TEXT, "Flat": flat, why.split()[0]: shape}
    top = structure(Top={"shape": why.split()[0]})
    value = {"Top": {"Name": "n"} if shape["type"] != "list" else []}
    answers = WrittenAnswers()
    made = serializer("query", {**shapes, "Answer": top}, "Answer")
    answered = by_writers(answers, made, value)
    assert answered == by_moto(made, value)
    assert list(answers.left_to_moto) == ["asked:Ask"]
    assert answers.left_to_moto["asked:Ask"] == why


def test_changes_of_values_hold_where_their_path_ends_and_as_long_as_they_are_there() -> None:
    """moto's handlers add some while they answer, in a dictionary that all requests share."""
    shapes = {
        "Text": TEXT,
        "Part": structure(Name={"shape": "Text"}),
        "Parts": {"type": "list", "member": {"shape": "Part"}},
        "Out": structure(Parts={"shape": "Parts"}, Name={"shape": "Text"}),
    }
    value = {"Parts": [{"Name": "x"}, {}], "Name": "y"}
    changes: dict[str, Any] = {"Part.Name": lambda name: f"{name}!"}
    made = serializer("ec2", shapes, "Out", changes)
    answers = WrittenAnswers()
    bodies = []
    for _ in range(2):
        answered = by_writers(answers, made, value)
        assert answered == by_moto(made, value)
        bodies.append(answered["body"])
        changes["Ask.Out.Name"] = lambda _: None
    assert ["<Name>x!</Name>" in body for body in bodies] == [True, True]
    assert ["<Name>y</Name>" in body for body in bodies] == [True, False]
